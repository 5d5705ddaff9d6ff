"""Recorded drives, in .npz files and in datasets that Minari writes, become drives like all others."""

import os
import shutil
import sys
import zipfile
from dataclasses import replace
from functools import cache
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from dvc.cli import main as dvc
from dvc.repo import Repo
from ruamel.yaml import YAML

from stages.__main__ import run_stage
from wm import cli
from wm.data.episode import mirror
from wm.data.processing import Processing
from wm.data.shards import Shards, Writer
from wm.data.split import validation_tracks
from wm.errors import BadInput
from wm.export import minari as minari_export
from wm.params import file
from wm.params.check import check
from wm.pipeline import sources
from wm.runtime import files, run
from wm.spec import Timing
from wm.track import recorded
from wm.track.real_track import RealTrack
from wm.track.renderer import shrink
from wm.track.spaces import action_space

ROOT = Path(__file__).parents[1]
SOURCE = {"path": "recorded/mine", "seed": 500_000, "episodes": 2}
STEPS = 12


@cache
def driven(seed):
    """A drive of a few actions of two frames, after the warm-up, as anyone may record it."""
    track, rng = RealTrack(2, 50), np.random.default_rng(seed)
    observation, frames, rewards = track.reset(seed), [], []
    warm_up_reward = observation.reward
    actions = rng.uniform([-1, 0, 0], [1, 1, 0.2], (STEPS, 3)).astype(np.float32)
    for action in actions:
        frames.append(observation.pixels)
        observation = track.step(action)
        rewards.append(observation.reward)
    last = np.arange(STEPS) == STEPS - 1
    return {
        "frames": np.stack(frames),
        "actions": actions,
        "rewards": np.array(rewards, np.float32),
        "terminated": ~last & last,
        "truncated": last,
        "warm_up_reward": np.float64(warm_up_reward),
    }


def save(name, **changes):
    """A recorded file; a change that is None leaves the array out."""
    Path("recorded/mine").mkdir(parents=True, exist_ok=True)
    arrays = {**driven(len(name)), **changes}
    np.savez(f"recorded/mine/{name}.npz", **{k: v for k, v in arrays.items() if v is not None})


def write_params(**source):
    entry = ", ".join(f"{name}: {value}" for name, value in (SOURCE | source).items())
    text = (ROOT / "profiles/default.yaml").read_text()
    Path("params.yaml").write_text(text.replace("collect:\n", f"collect:\n  mine: {{{entry}}}\n"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder whose params.yaml has a source of two drives."""
    monkeypatch.chdir(tmp_path)
    write_params()
    return tmp_path


def made(count=2):
    """The drives that the stage makes."""
    write_params(episodes=count)
    run_stage("import_drives", "mine")
    shards = Shards(Path("data/raw/mine"))
    return [shards.read(record) for record in shards.records]


def test_files_become_drives(project):
    save("b", frames=np.stack([shrink(pixels) for pixels in driven(1)["frames"]]))
    save("aa", missed=np.arange(STEPS), rewards=driven(2)["rewards"].astype(np.float64))
    save("c", frames=None)  # after the first two by name: not read
    for drive, source in zip(made(), (driven(2), driven(1)), strict=True):
        frames = np.stack([shrink(pixels) for pixels in source["frames"]])
        assert np.array_equal(drive.observations["frame"], frames)
        assert np.array_equal(drive.actions, source["actions"])
        assert np.array_equal(drive.rewards, source["rewards"])
        assert drive.record.score == pytest.approx(
            source["warm_up_reward"] + source["rewards"].sum(), abs=1e-3
        )
        assert drive.truncated.tolist() == source["truncated"].tolist()
    drives = made()
    assert [drive.missed[-1] for drive in drives] == [STEPS - 1, 0]
    assert [drive.record.seed for drive in drives] == [500_000, 500_001]
    assert {drive.record.source for drive in drives} == {"mine"}


def test_they_are_bytes_of_the_files_alone(project):
    for name in ("a", "bb"):
        save(name)
    made()
    before = [path.read_bytes() for path in sorted(Path("data/raw/mine").iterdir())]
    made()
    assert [path.read_bytes() for path in sorted(Path("data/raw/mine").iterdir())] == before


def test_a_terminated_drive_has_failed_or_finished_its_lap(project):
    last = driven(1)["truncated"]
    save("a", terminated=last, truncated=~last & last)
    save("b", terminated=last, rewards=np.where(last, np.float32(-100.1), driven(1)["rewards"]))
    save("c", truncated=~last & last)  # the recording stopped
    drives = made(3)
    assert [drive.record.lap_finished for drive in drives] == [True, False, False]
    assert [bool(drive.terminated[-1]) for drive in drives] == [False, True, False]
    assert [bool(drive.truncated[-1]) for drive in drives] == [True, False, True]


def test_drives_of_one_track_and_mirror_images_stay_on_one_side_of_the_split(project):
    for number in range(10):
        save("abcdefghij"[number], seed=number // 2)
    records = [drive.record for drive in made(10)]
    seeds = [record.seed for record in records]
    assert seeds[::2] == seeds[1::2] == [500_000, 500_002, 500_004, 500_006, 500_008]
    assert len(validation_tracks(records, 0.2, 1)) == 1
    processing = Processing(seed=1, mirror=True, validation_share=0.2, min_score={})
    shards = Shards(Path("data/raw/mine"))
    marked = processing.filtered("mine", shards.records)
    both = [[each.record for each in processing.episodes(shards, record, Timing(2, 50))] for record in marked]
    assert all(one.validation == other.validation and other.mirrored for one, other in both)
    assert sum(one.validation for one, _ in both) == 2


def test_drives_on_a_single_track_are_refused_since_none_would_be_left_to_train_on(project):
    save("a", seed=7)
    save("b", seed=7)
    with pytest.raises(BadInput, match=r"mine: seed: found 2 drives on one track, expected at least two"):
        made()
    assert not list(Path("data/raw").iterdir())
    save("b", seed=8)
    assert [drive.record.seed for drive in made()] == [500_000, 500_001]


nan = np.full((STEPS, 3), np.nan, np.float32)
MISTAKES = {
    "frames of another size": ({"frames": np.zeros((STEPS, 84, 84, 3), np.uint8)}, "frames: found uint8"),
    "float frames": ({"frames": np.zeros((STEPS, 64, 64, 3), np.float32)}, "frames: found float32"),
    "lengths": ({"frames": np.zeros((STEPS + 1, 64, 64, 3), np.uint8)}, r"expected uint8 \(12, 64, 64, 3\)"),
    "whole actions": (
        {"actions": np.zeros((STEPS, 3), int)},
        r"actions: found int64 \(12, 3\), expected float",
    ),
    "two actions": ({"actions": nan[:, :2]}, r"actions: found float32 \(12, 2\), expected"),
    "NaN": ({"actions": nan}, r"actions: found \[nan, nan, nan\] in row 0, expected steering in \[-1, 1\]"),
    "brake": ({"actions": nan * 0 + np.float32(-0.5)}, "actions: found"),
    "rewards": ({"rewards": np.full(STEPS, np.inf, np.float32)}, "rewards: found inf in row 0, expected"),
    "more points than a lap has": (
        {"rewards": np.where(np.arange(STEPS) == STEPS - 1, 1e300, -0.2)},
        r"rewards: found 1e\+300 in row 11, expected numbers, at most 1000 points",
    ),
    "no step": ({"rewards": np.zeros(0, np.float32)}, "rewards: found 0 steps, expected 1 to 475"),
    "one action per frame": ({"rewards": np.full(STEPS, -0.1, np.float32)}, "action_repeat may have been 1"),
    "four frames per action": (
        {"rewards": np.full(STEPS, -0.4, np.float32)},
        "action_repeat may have been 4",
    ),
    "the warm-up": ({"rewards": np.full(500, -0.2, np.float32)}, "found 500 steps, .* after the warm-up"),
    "a number for a flag": ({"terminated": np.zeros(STEPS, np.uint8)}, "terminated: found uint8"),
    "an end in the middle": ({"truncated": np.ones(STEPS, bool)}, r"truncated: found true in row \[0\]"),
    "missed tiles": ({"missed": np.full(STEPS, -1)}, r"missed: found \[-1\]"),
    "no rewards": ({"rewards": None}, "found arrays .*expected frames, actions, rewards"),
    "another array": ({"reward": np.zeros(3)}, "found arrays .*reward"),
    "half a seed": ({"seed": 0.5}, "seed: found 0.5, expected a whole number"),
    "many seeds": ({"seed": np.arange(3)}, r"seed: found shape \(3,\), expected one number"),
    "an endless warm-up": ({"warm_up_reward": np.inf}, "warm_up_reward: found inf, expected a number"),
    "a warm-up of a lap": (
        {"warm_up_reward": -1e308},
        "warm_up_reward: found -1e.308, expected a number, at",
    ),
    "a pickle": ({"missed": np.array([{}], object)}, "Object arrays cannot be loaded"),
}


def read_all():
    """The first recorded drive as an episode."""
    timing = Timing(action_repeat=2, warm_up_frames=50)
    for drive in recorded.read(Path("recorded/mine"), 1, timing):
        recorded.episode(drive, 1, "mine", timing)


def refused(capsys):
    """The line in which the stage refuses its input; it leaves no output."""
    with pytest.raises(SystemExit) as ended:
        run.run(run_stage, "import_drives", "mine")
    assert ended.value.code == 2
    assert not list(Path("data/raw").iterdir())
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_file_that_cannot_be_a_drive_is_refused(tmp_path, monkeypatch, mistake):
    monkeypatch.chdir(tmp_path)
    changes, said = MISTAKES[mistake]
    save("b", **changes)
    with pytest.raises(BadInput, match=f"^recorded/mine/b.npz: .*{said}"):
        read_all()


def test_the_stage_refuses_in_one_line_and_leaves_nothing(project, capsys):
    save("a")
    save("b", actions=nan)
    assert refused(capsys).startswith("error: recorded/mine/b.npz: actions: found [nan, nan, nan] in row 0")
    save("b", seed=900_007)
    assert "b.npz: seed: found 900007, expected none of 900000 to 900099" in refused(capsys)


def pickled(content):
    Path("executed").touch()
    return content[:0]


class Touch:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return pickled, (b"",)


DAMAGE = {
    "cut short": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a flipped bit": lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    "a pickle": lambda content: bytes(ForkingPickler.dumps(Touch())),
    "text": lambda content: b"frames",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_and_no_pickle_is_loaded(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    save("b")
    path = Path("recorded/mine/b.npz")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(BadInput, match=r"^recorded/mine/b\.npz: found "):
        read_all()
    assert not Path("executed").exists()


@pytest.mark.parametrize("name", ["frames", "terminated", "missed", "seed"])
def test_a_file_with_other_bytes_in_place_of_an_array_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    save("b", **{name: None})
    with zipfile.ZipFile("recorded/mine/b.npz", "a") as file:
        file.writestr(f"{name}.npy", b"0.5")
    with pytest.raises(BadInput, match=rf"b\.npz: {name}: found other bytes, expected an array in NumPy"):
        read_all()


def test_metadata_of_a_dataset_may_be_numpy_numbers_but_no_lists(project, monkeypatch, capsys):
    save("a")
    save("b")
    drive = next(recorded.read(Path("recorded/mine"), 1, Timing(2, 50)))
    changes: list[dict[str, Any]] = [{"warm_up_reward": np.int64(3), "seed": np.int64(1)}, {"seed": [1]}]
    drives = [replace(drive, **each) for each in changes]
    monkeypatch.setattr(recorded, "_npz", lambda path: drives.pop(0))
    assert "seed: found [1], expected a whole number" in refused(capsys)


def test_too_few_drives_are_refused(project, capsys):
    assert "recorded/mine: found no drives, expected .npz files" in refused(capsys)
    save("a")
    assert "recorded/mine: found 1 drives, expected the 2 of its `episodes`" in refused(capsys)


def write_dataset(data_format="parquet", env_id="CarRacing-v3", seeds=(7, 8)):
    """Two drives, written by Minari as its own collector does, observations one longer than actions."""
    minari = pytest.importorskip("minari")
    from minari.data_collector.episode_buffer import EpisodeBuffer

    if data_format == "hdf5":
        pytest.importorskip("h5py")
    buffers = []
    for number, seed in enumerate(seeds):
        drive = driven(number + 1)
        columns: Any = {  # arrays: not in Minari's type hints, but accepted by its storage
            "observations": np.concatenate([drive["frames"], drive["frames"][-1:]]),
            "actions": drive["actions"],
            "rewards": drive["rewards"].astype(np.float64),
            "terminations": drive["terminated"],
            "truncations": drive["truncated"],
        }
        buffers.append(EpisodeBuffer(id=number, seed=seed, **columns))
    env = gymnasium.spec(env_id)
    space = gymnasium.spaces.Box(0, 255, (96, 96, 3), np.uint8)
    minari.create_dataset_from_buffers(
        "recorded/mine-v0",
        buffers,
        env=env,
        observation_space=space,
        action_space=action_space(),
        data_format=data_format,
        jpeg_encoding=False,
    )
    write_params(path="recorded/mine-v0")


@pytest.mark.parametrize("data_format", ["parquet", "hdf5"])
def test_a_dataset_that_minari_wrote_becomes_drives(project, monkeypatch, data_format):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(project))
    write_dataset(data_format)
    run_stage("import_drives", "mine")
    shards = Shards(Path("data/raw/mine"))
    for record, source in zip(shards.records, (driven(1), driven(2)), strict=True):
        drive = shards.read(record)
        assert np.array_equal(drive.observations["frame"], [shrink(frame) for frame in source["frames"]])
        assert np.array_equal(drive.actions, source["actions"])
        assert np.array_equal(drive.rewards, source["rewards"])


def test_what_this_project_exports_it_reads(project):
    pytest.importorskip("minari")
    for name in ("a", "bb", "ccc"):
        save(name, missed=np.arange(STEPS))
    drives = made(3)
    processed = project / "data/processed/mine"
    with files.replacing(processed) as folder:
        writer = Writer(folder, "mine")
        for drive in drives:
            for each in (drive, mirror(drive)):
                writer.write(replace(each, record=replace(each.record, shard="", row_group=-1)))
        writer.finish()
    path = minari_export.export(processed, project / "recorded")
    write_params(path=f"recorded/{path.name}", episodes=3)
    run_stage("import_drives", "mine")
    shards = Shards(Path("data/raw/mine"))
    assert not any(record.mirrored for record in shards.records)
    for record, drive in zip(shards.records, drives, strict=True):
        copy = shards.read(record)
        assert (copy.record.score, copy.record.warm_up_reward) == pytest.approx(
            (drive.record.score, drive.record.warm_up_reward), abs=1e-3
        )
        for name in ("actions", "rewards", "missed", "terminated", "truncated"):
            assert np.array_equal(getattr(copy, name), getattr(drive, name)), name
        assert np.array_equal(copy.observations["frame"], drive.observations["frame"])


def test_an_export_of_another_action_repeat_is_refused(project, capsys):
    pytest.importorskip("minari")
    save("a")
    save("b")
    made()
    path = minari_export.export(Path("data/raw/mine"), project / "recorded")
    shutil.rmtree("data")
    write_params(path=f"recorded/{path.name}")
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("action_repeat: 2", "action_repeat: 4"))
    capsys.readouterr()
    assert "environment: found {'action_repeat': 2, 'warm_up_frames': 50}, expected {'action_re" in refused(
        capsys
    )


def test_a_dataset_of_another_environment_is_refused(project, monkeypatch, capsys):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(project))
    write_dataset(env_id="Pendulum-v1")
    capsys.readouterr()
    assert "recorded/mine-v0: environment: found Pendulum-v1, expected CarRacing" in refused(capsys)


def test_a_damaged_dataset_is_refused(project, monkeypatch, capsys):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(project))
    write_dataset()
    for path in Path("recorded/mine-v0/data").rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    assert "recorded/mine-v0: found " in refused(capsys)


def test_without_minari_the_error_says_what_to_install(project, monkeypatch, capsys):
    Path("recorded/mine/data").mkdir(parents=True)
    Path("recorded/mine/data/metadata.json").write_text("{}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "recorded/mine: minari, which reads this dataset, is not installed. Run `uv sync" in refused(
        capsys
    )


SOURCES = {
    "no path": ({"mine": {"seed": 1, "episodes": 1}}, r"collect\.mine: found 'mine', expected one of lane_"),
    "a number": ({"mine": SOURCE | {"path": 1}}, r"collect\.mine\.path: found 1, expected a text"),
    "an option": (
        {"mine": SOURCE | {"path": "-x"}},
        r"collect\.mine\.path: found '-x', expected a text that",
    ),
    "no seed": ({"mine": {"path": "a", "episodes": 1}}, r"collect\.mine\.seed: is missing"),
    "a driver": ({"erratic": SOURCE}, r"collect\.erratic: found 'erratic', expected a name other than"),
    "a round": ({"r0": SOURCE}, r"rounds\.r0: found 'r0', expected a name other than"),
    "two words": ({"my drives": SOURCE}, r"collect\.my drives: found 'my drives', expected a letter, foll"),
    "tracks of others": ({"mine": SOURCE | {"seed": 100_000}}, "tracks: found seeds 100000 to 100149"),
}


@pytest.mark.parametrize("mistake", SOURCES)
def test_a_wrong_source_in_params_yaml_is_refused(mistake):
    changes, said = SOURCES[mistake]
    content = YAML(typ="safe").load(ROOT / "profiles/default.yaml")
    content["collect"] |= changes
    with pytest.raises(BadInput, match=said):
        check(content)


def test_each_stage_takes_its_kind_of_source(project, capsys):
    for stage, source in (("collect", "mine"), ("import_drives", "erratic")):
        with pytest.raises(BadInput, match=f"found '{source}', expected one of "):
            run_stage(stage, source)


def test_dvc_yaml_without_the_source_is_refused_before_any_work(project):
    """DVC would train without these drives."""
    shutil.copy(ROOT / "dvc.yaml", project)
    said = r"dvc\.yaml: import_drives, process: found other sources than in collect of params\.yaml\. Run `"
    for command in (lambda: run_stage("process"), cli.validate):
        with pytest.raises(BadInput, match=said):
            command()
    text = (project / "dvc.yaml").read_text()
    written = sources.with_sources(text, file.load())
    (project / "dvc.yaml").write_text(written)
    cli.validate()
    write_params(path="./data/raw/mine")
    with pytest.raises(BadInput, match=r"mine\.path: found \./data/raw/mine, expected a folder outside"):
        cli.validate()
    added = set(written.splitlines()) - set(text.splitlines())
    assert len(added) == 2
    assert "      - data/raw/mine" in added
    shutil.copy(ROOT / "params.yaml", project)
    with pytest.raises(BadInput, match=said):  # since DVC would call the stage without a source
        cli.validate()
    assert sources.with_sources(written, file.load()) == text


def test_dvc_imports_again_what_was_recorded_again(project, monkeypatch):
    for name in ("wm", "stages"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    text = (ROOT / "dvc.yaml").read_text()
    Path("dvc.yaml").write_text(sources.with_sources(text, file.load()))
    save("a")
    save("bb")
    assert dvc(["init", "--no-scm", "-q"]) == 0
    assert dvc(["repro", "-q", "import_drives@mine"]) == 0
    manifest = Path("data/raw/mine/manifest.json")
    before = manifest.read_bytes(), manifest.stat().st_mtime_ns
    assert dvc(["repro", "-q", "import_drives@mine"]) == 0
    assert (manifest.read_bytes(), manifest.stat().st_mtime_ns) == before
    save("bb", **driven(3))
    assert dvc(["repro", "-q", "import_drives@mine"]) == 0
    assert manifest.read_bytes() != before[0]
    with Repo() as repo:
        (process,) = repo.stage.collect("process")
        assert "data/raw/mine" in [dep.def_path for dep in process.deps]
