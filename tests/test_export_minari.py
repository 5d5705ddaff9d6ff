"""Drives written for Minari, read back by Minari."""

import weakref
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from test_envs import save_agent

from wm.data.episode import Episode, Record, mirror
from wm.data.manifest import CorruptShard
from wm.data.shards import Shards, Writer
from wm.errors import BadInput
from wm.export import minari as minari_export
from wm.runtime import files
from wm.track.real_track import RealTrack
from wm.track.renderer import shrink

ROOT = Path(__file__).parents[1]


def drive(seed, length, *, failed=False, kept=True):
    """Frames of noise, which lossy compression would change."""
    rng = np.random.default_rng(seed)
    last = np.arange(length) == length - 1
    return Episode(
        Record(
            0, seed, "a", length, score=1.5 * seed, warm_up_reward=0.5, lap_finished=not failed, kept=kept
        ),
        {"frame": rng.integers(0, 256, (length, 64, 64, 3), np.uint8)},
        rng.uniform([-1, 0, 0], 1, (length, 3)).astype(np.float32),
        rng.normal(size=length).astype(np.float32),
        rng.integers(0, 4, length, np.int16),
        last & failed,
        last & (not failed),
    )


DRIVES = [drive(3, 7), drive(4, 5, kept=False), drive(5, 9, failed=True), drive(6, 1)]
DRIVES.append(mirror(DRIVES[2]))


def write(path, episodes):
    with files.replacing(path) as unfinished:
        writer = Writer(unfinished, path.name)
        for episode in episodes:
            writer.write(episode)
        writer.finish()


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params["environment"] = {"action_repeat": 4, "warm_up_frames": 50}
    YAML().dump(params, Path("params.yaml"))
    write(Path("data/raw/a"), DRIVES)
    return Path("data/raw/a")


@pytest.fixture
def minari(tmp_path, monkeypatch):
    """Minari, with its datasets in a temporary folder."""
    import minari

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return minari


def test_minari_reads_what_the_shards_hold(source, minari):
    path = minari_export.export(source, None)
    dataset = minari.load_dataset(path.name)
    kept = [drive for drive in DRIVES if drive.record.kept]
    found = list(dataset)
    assert [len(episode) for episode in found] == [7, 9, 1, 9]
    assert dataset.total_steps == 26
    for episode, original in zip(found, kept, strict=True):
        frames = original.observations["frame"]
        assert (episode.observations[:-1] == frames).all()
        assert (episode.observations[-1] == frames[-1]).all()
        assert episode.infos["missed"].tolist() == [0, *original.missed.tolist()]
        for values, same in [
            (episode.actions, original.actions),
            (episode.rewards, original.rewards),
            (episode.terminations, original.terminated),
            (episode.truncations, original.truncated),
        ]:
            assert values.dtype == same.dtype
            assert (values == same).all()
        assert dataset.observation_space.contains(episode.observations[0])
        assert all(dataset.action_space.contains(action) for action in episode.actions)


def test_minari_has_the_records_of_the_drives(source, minari):
    dataset = minari.load_dataset(minari_export.export(source, None).name)
    records = list(dataset.storage.get_episode_metadata(range(4)))
    assert [record["seed"] for record in records] == [3, 5, 6, 5]
    assert [record["score"] for record in records] == [4.5, 7.5, 9.0, 7.5]
    assert [record["mirrored"] for record in records] == [False, False, False, True]
    assert [record["lap_finished"] for record in records] == [True, False, True, False]
    metadata = dataset.storage.metadata
    assert metadata["environment"] == {"id": "CarRacing-v3", "action_repeat": 4, "warm_up_frames": 50}
    assert "held for 4 frames" in metadata["description"]
    assert minari.list_local_datasets()["car-racing-raw-a-v0"]["total_episodes"] == 4


def test_minari_recovers_the_environment_in_which_a_drive_repeats(source, minari, tmp_path):
    """The first drive of the dataset is a real one: the same actions give the same frames and rewards."""
    track, rng = RealTrack(action_repeat=4, warm_up_frames=50), np.random.default_rng(0)
    actions = rng.uniform([-1, 0, 0], [1, 1, 0.1], (3, 3)).astype(np.float32)
    observations = [track.reset(5), *(track.step(action) for action in actions)]
    episode = drive(5, 3)
    episode.observations["frame"][:] = [shrink(observation.pixels) for observation in observations[:-1]]
    episode.actions[:] = actions
    episode.rewards[:] = [observation.reward for observation in observations[1:]]
    write(Path("data/raw/real"), [episode])
    dataset = minari.load_dataset(minari_export.export(Path("data/raw/real"), None).name)
    env = dataset.recover_environment(models=save_agent(tmp_path))
    assert env.observation_space == dataset.observation_space
    assert env.action_space == dataset.action_space
    recorded = dataset[0]
    frames, rewards = [env.reset(seed=5)[0]], []
    for action in recorded.actions:
        frame, reward, *_ = env.step(action)
        frames.append(frame)
        rewards.append(reward)
    assert np.array_equal(frames[:-1], recorded.observations[:-1])
    assert np.array_equal(np.array(rewards, np.float32), recorded.rewards)


def test_another_root_and_the_same_bytes(source, minari, tmp_path):
    roots = [tmp_path / "one", tmp_path / "two"]
    first, second = (minari_export.export(source, root) for root in roots)
    assert first == roots[0] / "car-racing-raw-a-v0"
    written = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(written) == 1 + 2 * 4
    for path in written:
        assert (first / path).read_bytes() == (second / path).read_bytes()
    minari_export.export(source, roots[0])  # in the place of the one before, not beside it
    assert [path.name for path in roots[0].iterdir()] == ["car-racing-raw-a-v0"]


def test_no_more_than_two_drives_are_in_memory(source, monkeypatch):
    alive, read = weakref.WeakSet(), Shards.read

    def watched(shards, record):
        assert len(alive) <= 1
        episode = read(shards, record)
        alive.add(episode)
        return episode

    monkeypatch.setattr(Episode, "__hash__", object.__hash__)
    monkeypatch.setattr(Shards, "read", watched)
    minari_export.export(source, Path("minari"))


def test_a_failed_export_leaves_nothing(source, monkeypatch):
    read = Shards.read

    def failing(shards, record):
        if record.seed == 6:
            raise CorruptShard("page checksum differs")
        return read(shards, record)

    monkeypatch.setattr(Shards, "read", failing)
    with pytest.raises(CorruptShard):
        minari_export.export(source, Path("minari"))
    assert not list(Path("minari").iterdir())


def test_an_export_that_fails_reports_one_line(source, monkeypatch):
    with pytest.raises(BadInput, match=r"nowhere/manifest\.json: not found"):
        minari_export.export(Path("nowhere"), Path("minari"))
    latents = DRIVES[0].__class__(**{**vars(DRIVES[0]), "observations": {"mu": np.zeros((7, 4), np.float32)}})
    write(Path("data/latents/a"), [latents])
    with pytest.raises(BadInput, match=r"data/latents/a: observations: found \['mu'\], expected frames"):
        minari_export.export(Path("data/latents/a"), Path("minari"))
    write(Path("data/raw/b"), DRIVES[:1])
    Path("data/raw/b").rename("data/raw/a b")
    with pytest.raises(BadInput, match="expected a folder name of letters"):
        minari_export.export(Path("data/raw/a b"), Path("minari"))
    with pytest.raises(BadInput, match=r"params\.yaml: found a file, expected a folder"):
        minari_export.export(source, Path("params.yaml"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"minari is not installed\. Run `uv sync --extra minari`"):
        minari_export.export(source, Path("minari"))
