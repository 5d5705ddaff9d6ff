"""Readers and stages refuse a damaged file and name it; nothing else changes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from stages.__main__ import run_stage
from wm import cli
from wm.agent.folder import AgentFolder
from wm.data.episode import Episode, Record
from wm.data.manifest import MANIFEST, CorruptShard
from wm.data.resumable import resumable_episodes
from wm.data.shards import Shards, Writer
from wm.dream.results import DreamResult
from wm.dream.starts import StartFrames, read_starts
from wm.errors import BadInput
from wm.models import controller
from wm.models.controller import Controller, Snapshots
from wm.models.rnn import RNN, Ensemble
from wm.models.vae import VAE
from wm.params import profiles
from wm.runtime import files, model_file, model_header, results, run
from wm.runtime.checkpoint import Checkpoints
from wm.runtime.journal import Journal
from wm.runtime.model_header import BadModelFile

ROOT = Path(__file__).parents[2]
LATENT, HIDDEN, STEPS = 4, 8, 30
FIRST_EXPLORED = 310_000  # track of the first round; every third drive is by the agent alone
SIZES: dict[str, Any] = {"latent_size": LATENT, "hidden_size": HIDDEN, "mixtures": 2}
SCORE = {"mean": 1.0, "std": 0.2, "sem": 0.1, "min": 0.5, "median": 1.0, "max": 1.5, "n": 4}
DRIVES = {"laps": 0, "lap_frames": None, "missed": 0.5, "failures": 0.0}
ROUND = {"score": SCORE, **DRIVES, "rules": {"temperature": 1.0, "stuck_steps": 0, "action_repeat": 4}}


def flipped(content, at, bit=0):
    """The content with one bit of the byte at `at` flipped."""
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def drive(seed, source, latents):
    rng, ends = np.random.default_rng(seed), np.arange(STEPS) == STEPS - 1
    if latents:
        seen = {name: rng.normal(size=(STEPS, LATENT)).astype(np.float32) for name in ("mu", "logvar")}
    else:
        seen = {"frame": rng.integers(0, 256, (STEPS, 64, 64, 3), np.uint8)}
    return Episode(
        Record(0, seed, source, STEPS, 50.0, 0.5, False, validation=seed % 2 == 0),
        seen,
        rng.uniform(0, 1, (STEPS, 3)).astype(np.float32),
        rng.normal(size=STEPS).astype(np.float32),
        np.zeros(STEPS, np.int16),
        ends,
        ~ends & False,
    )


def write_shards(folder, source, *, latents):
    with files.replacing(folder) as unfinished:
        writer = Writer(unfinished, source)
        for seed in range(4):
            writer.write(drive(seed + FIRST_EXPLORED * (source == "r0"), source, latents))
        writer.finish()


def write_models(folder):
    one = Controller(features=LATENT + HIDDEN)
    model_file.save(folder / "rnn.eqx", RNN(**SIZES, key=jr.key(1)))
    model_file.save(folder / "simulators.eqx", Ensemble(count=1, **SIZES, key=jr.key(2)))
    model_file.save(folder / "controller.eqx", one)
    model_file.save(folder / "snapshots.eqx", controller.snapshots([one, one]))


def write_figures(folder):
    """A round's tables and pictures."""
    files.write_json(folder / "dream.json", ROUND)
    files.write_json(folder / "explore.json", ROUND | {"tracks": "exploring"})
    (folder / "train_rnn.csv").write_text("step,train_loss,loss\n1,0.5,0.4\n")
    (folder / "evolve.csv").write_text("number,mean_fitness,best_fitness,sigma\n1,0.5,0.7,0.3\n")


def write_chosen(metrics):
    """The tables and pictures of the stages that follow all rounds."""
    files.write_json(metrics / "ranks.json", {"chosen": "r0"})
    files.write_json(metrics / "real.json", ROUND)
    (metrics / "real.csv").write_text("seed,score,lap_finished\n1,0.5,False\n2,0.7,True\n")
    for name in ("drive.png", "drive.webm"):
        (metrics / name).write_bytes(b"a picture")
    drift = {f"{kind}_{steps}": 0.5 for kind in ("latent", "reward") for steps in (5, 20, 50, 100)}
    files.write_json(metrics / "fidelity.json", {"drift": drift, "rank_correlation": 0.5})
    promises = "dream_reward,real_reward,agreement,dream_winning,real_winning,real_on_road"
    (metrics / "exploitation.csv").write_text(f"steps,{promises}\n10,0.5,0.5,0.5,0.5,0.5,0.5\n")
    closed = "steps,seconds,quantity,series,mean,low,high\n10,0.2,speed,dream,0.5,0.4,0.6\n"
    (metrics / "closed_loop.csv").write_text(closed)
    (metrics / "controllers.csv").write_text("round,controller,dream,real\nr0,snapshot_1,0.5,2.0\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A project with a file at every place that a stage of the first round reads or writes."""
    home = tmp_path_factory.mktemp("whole")
    params = YAML(typ="safe").load(ROOT / "profiles" / "default.yaml")
    changes = {
        "rounds": {"r0": {"prev": "init"}},
        "train_vae": {"latent_size": LATENT},
        "initialise": {"hidden_size": HIDDEN},
        "evolve": {"principal_components": 4, "value_steps": 9},
    }
    for change in (YAML(typ="safe").load(ROOT / "profiles" / "smoke.yaml"), changes):
        params = profiles.merged(params, change)
    YAML(typ="safe").dump(params, home / "params.yaml")
    for name in ("lane_follower", "erratic", "r0"):
        write_shards(home / "data/raw" / name, name, latents=False)
    write_shards(home / "data/processed/init", "init", latents=False)
    for name in ("init", "r0"):
        write_shards(home / "data/latents" / name, name, latents=True)
        write_models(home / "models/rounds" / name)
    model_file.save(home / "models/vae.eqx", VAE(latent_size=LATENT, widths=(4, 4), key=jr.key(0)))
    metrics, latents = home / "metrics", np.zeros((3, LATENT), np.float32)
    starts = home / "models/rounds/r0/starts.npz"
    np.savez(starts, mu=latents, logvar=latents, warm_up_reward=np.zeros(3, np.float32))
    write_figures(metrics / "rounds/r0")
    write_chosen(metrics)
    (metrics / "train_vae.csv").write_text("step,train_loss,loss,squared_error,kl\n1,0.5,2.0,1.0,0.5\n")
    files.write_json(metrics / "train_vae.json", {"active_dimensions": 3, "loss": 0.5})
    (metrics / "reconstructions.png").write_bytes(b"a picture")
    return home


@pytest.fixture
def project(whole, tmp_path, monkeypatch):
    """A copy to damage, in which stages are run."""
    for path in whole.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(whole)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def contents(home):
    """The checksums of all files but the unfinished work of stages."""
    paths = [path for path in home.rglob("*") if path.is_file() and ".scratch" not in path.parts]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


SHOWN = (
    "closed_loop.csv",
    "controllers.csv",
    "drive.png",
    "drive.webm",
    "exploitation.csv",
    "fidelity.json",
    "ranks.json",
    "real.csv",
    "real.json",
    "reconstructions.png",
    "train_vae.csv",
    "train_vae.json",
    *(f"rounds/r0/{name}" for name in ("dream.json", "evolve.csv", "explore.json", "train_rnn.csv")),
)  # of metrics/, in the report
READ = {
    # stage and its arguments: all that it reads
    "process": ["data/raw/lane_follower", "data/raw/erratic"],
    "train_vae": ["data/processed/init"],
    "encode": ["data/processed/init", "models/vae.eqx"],
    "encode_explored r0 init": ["data/raw/r0", "data/latents/init", "models/vae.eqx"],
    "initialise": ["models/vae.eqx"],
    "train_rnn r0 init": [
        "data/latents/init",
        "models/rounds/init/rnn.eqx",
        "models/rounds/init/simulators.eqx",
    ],
    "evolve r0 init": ["data/latents/init", "models/rounds/r0/rnn.eqx", "models/rounds/r0/simulators.eqx"],
    "evaluate": [
        "metrics/ranks.json",
        "models/vae.eqx",
        "models/rounds/r0/rnn.eqx",
        "models/rounds/r0/controller.eqx",
    ],
    "explore r0": [
        "models/vae.eqx",
        "models/rounds/r0/rnn.eqx",
        "models/rounds/r0/controller.eqx",
        "models/rounds/r0/snapshots.eqx",
    ],
    "fidelity": [
        "data/latents/r0",
        "metrics/ranks.json",
        "models/vae.eqx",
        "models/rounds/r0/rnn.eqx",
        "models/rounds/r0/simulators.eqx",
        "models/rounds/r0/controller.eqx",
        "models/rounds/r0/snapshots.eqx",
        "models/rounds/r0/starts.npz",
        "metrics/rounds/r0/dream.json",
    ],
    "rank": [
        *(f"models/rounds/r0/{name}.eqx" for name in ("rnn", "simulators", "controller")),
        "models/rounds/r0/starts.npz",
        "metrics/rounds/r0/dream.json",
    ],
    "report": [
        *(f"metrics/{name}" for name in SHOWN),
        *(f"data/raw/{name}" for name in ("lane_follower", "erratic", "r0")),
        *(f"data/latents/{name}" for name in ("init", "r0")),
    ],
}
COPIED = (".png", ".webm")  # copied without parsing, by the report


def test_every_dependency_of_every_stage_is_damaged_below():
    """All deps of dvc.yaml but code; the evolved controller of the round before, which is read only if
    evolution starts from it, has a test of its own."""
    for name, stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].items():
        body = stage.get("do", stage)
        words = body["cmd"].replace("${key}", "r0").replace("${item.prev}", "init").split()[3:]
        deps = {dep.replace("${key}", "r0").replace("${item.prev}", "init") for dep in body["deps"]}
        deps = {dep for dep in deps if not dep.startswith(("stages/", "wm/"))}
        read = READ.get(" ".join(words), [])
        folders = {"data/latents", "data/raw", "models/rounds", "metrics/rounds"}
        unread = folders | {"models/rounds/init/controller.eqx", "${item}"}  # in tests/test_recorded.py
        assert deps - unread <= set(read), name


def spoil(path, how):
    """Damages a file, or one of a folder of shards; returns the path that the message must name."""
    if path.is_dir():
        path = path / MANIFEST if how == "no manifest" else next(path.glob("*.parquet"))
    if how in ("missing", "no manifest"):
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "flipped":
        content = path.read_bytes()
        middle = content.find(b"0.") if path.suffix in (".json", ".csv") else len(content) // 2
        path.write_bytes(flipped(content, middle, 7))
    return path


DAMAGED = [
    (stage, place, how)
    for stage, places in READ.items()
    for place in places
    for how in ("flipped", "missing")
    if how == "missing" or not place.endswith(COPIED)
]
DAMAGED += [(stage, places[0], "truncated") for stage, places in READ.items()]
DAMAGED += [(stage, p, "no manifest") for stage, places in READ.items() for p in places if "." not in p]


@pytest.mark.parametrize(("stage", "place", "how"), DAMAGED)
def test_a_stage_refuses_a_damaged_input_and_changes_nothing(project, capsys, stage, place, how):
    path = spoil(project / place, how)
    before = contents(project)
    words = stage.split()
    with pytest.raises(SystemExit) as ended:
        run.run(run_stage, *words)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    (line,) = [one for one in printed.err.splitlines() if not one.startswith("process ")]
    assert line.startswith(f"error: {path.relative_to(project)}")
    assert "dvc " in line
    assert contents(project) == before


def run_refused(capsys, stage):
    words = stage.split()
    with pytest.raises(SystemExit) as ended:
        run.run(run_stage, *words)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_search_that_starts_warm_refuses_the_damaged_controller(project, capsys):
    safe = YAML(typ="safe")
    params = safe.load(project / "params.yaml")
    params["evolve"]["from_scratch_rounds"] = 0
    safe.dump(params, project / "params.yaml")
    spoil(project / "models/rounds/init/controller.eqx", "flipped")
    assert "error: models/rounds/init/controller.eqx: sha256" in run_refused(capsys, "evolve r0 init")


MISFITS = {
    # stage: a model or data of other sizes, and the expected message
    "encode_explored r0 init": (
        "vae",
        "init/init-00000.parquet: numbers per step: found {'mu': 4, 'logvar': 4}",
    ),
    "train_rnn r0 init": (
        "init",
        "init/init-00000.parquet: numbers per step: found {'mu': 4, 'logvar': 4}",
    ),
    "evolve r0 init": (
        "r0",
        "init/init-00000.parquet: numbers per step: found {'mu': 4, 'logvar': 4}",
    ),
    "evaluate": ("vae", "models/rounds/r0/rnn.eqx: latent_size: found 4, expected 5"),
    "explore r0": ("controller", "models/rounds/r0/controller.eqx: features: found 9, expected 12"),
    "fidelity": ("snapshots", "models/rounds/r0/snapshots.eqx: features: found 9, expected 12"),
    "rank": ("starts", "models/rounds/r0/starts.npz: mu: found float32 (3, 5), expected float32 (3, 4)"),
    "process": (
        "latents",
        "data/raw/erratic/erratic-00000.parquet: numbers per step: found {}, expected {'frame'",
    ),
}


@pytest.mark.parametrize("stage", MISFITS)
def test_what_does_not_fit_together_is_refused(project, capsys, stage):
    what, said = MISFITS[stage]
    if what == "vae":
        model_file.save(project / "models/vae.eqx", VAE(latent_size=5, widths=(4, 4), key=jr.key(0)))
    elif what in ("init", "r0"):
        sizes: dict[str, Any] = SIZES | {"latent_size": 5}
        model_file.save(project / f"models/rounds/{what}/rnn.eqx", RNN(**sizes, key=jr.key(1)))
        model_file.save(
            project / f"models/rounds/{what}/simulators.eqx", Ensemble(count=1, **sizes, key=jr.key(1))
        )
    elif what == "controller":
        model_file.save(project / "models/rounds/r0/controller.eqx", Controller(features=9))
    elif what == "snapshots":
        other = controller.snapshots([Controller(features=9)] * 2)
        model_file.save(project / "models/rounds/r0/snapshots.eqx", other)
    elif what == "starts":
        latents = np.zeros((3, 5), np.float32)
        rewards = np.zeros(3, np.float32)
        np.savez(project / "models/rounds/r0/starts.npz", mu=latents, logvar=latents, warm_up_reward=rewards)
    else:
        write_shards(project / "data/raw/erratic", "erratic", latents=True)
    before = contents(project)
    assert said in run_refused(capsys, stage)
    assert contents(project) == before


def test_a_filter_that_keeps_nothing_shows_the_scores(project, capsys):
    safe = YAML(typ="safe")
    params = safe.load(project / "params.yaml")
    params["process"]["min_score"] = {"erratic": 60}
    safe.dump(params, project / "params.yaml")
    said = run_refused(capsys, "process")
    expected = "found 60.0, expected less than a drive scores; the scores are 50, 50, 50, 50"
    assert said == f"error: params.yaml: process.min_score.erratic: {expected}\n"


def test_drives_too_short_for_a_plan_or_a_value_are_refused_before_any_work(project, capsys):
    safe = YAML(typ="safe")
    params = safe.load(project / "params.yaml")
    params["fidelity"]["plan_steps"] = params["evolve"]["value_steps"] = STEPS
    safe.dump(params, project / "params.yaml")
    expected = "fidelity.plan_steps: found 30, expected less than the length of a drive in data/latents/r0"
    assert expected in run_refused(capsys, "fidelity")
    assert "evolve.value_steps: found 30, expected less than 30" in run_refused(capsys, "evolve r0 init")


@pytest.mark.parametrize("place", ["models/vae.eqx", "models/rounds/r0/simulators.eqx", "metrics/real.json"])
def test_nothing_damaged_is_published(project, capsys, place):
    spoil(project / place, "flipped")
    before = contents(project)
    with pytest.raises(SystemExit) as ended:
        run.run(cli.publish, "r0")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {place}: ")
    assert contents(project) == before


# --- shards


@pytest.fixture
def folder(tmp_path):
    write_shards(tmp_path / "latents", "x", latents=True)
    return tmp_path / "latents"


def relist(folder, change):
    """The manifest as the project would have written it, with one change."""
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    files.write_json(folder / MANIFEST, content)


def read_all(folder):
    shards = Shards(folder)
    shards.expect_latents(LATENT)
    return [shards.read(record) for record in shards.kept()]


LISTED = {
    "newer": (lambda m: m.update(version=3), "version: found 3, expected 2"),
    "no version": (lambda m: m.pop("version"), "version: found None, expected 2"),
    "more than is known": (
        lambda m: m.update(author="me"),
        "author: unknown name, expected one of version, shards",
    ),
    "no shards": (lambda m: m.pop("shards"), "shards: is missing"),
    "shards of another type": (lambda m: m.update(shards={}), "shards: found {}, expected a list"),
    "episodes of another type": (lambda m: m.update(episodes=[1]), "episodes.0: "),
    "a shard elsewhere": (
        lambda m: m["shards"][0].update(file="../x.parquet"),
        "shards.0.file: found '../x.p",
    ),
    "a shard at the root": (lambda m: m["shards"][0].update(file="/x.parquet"), "shards.0.file: found '/x.p"),
    "an episode elsewhere": (
        lambda m: m["episodes"][1].update(shard="../x.parquet"),
        "episodes.1: found row group 1 of '../x.parquet'",
    ),
    "a checksum of no kind": (
        lambda m: m["shards"][0].update(sha256="x"),
        "shards.0.sha256: found 'x', expected a text that matches",
    ),
    "rows beyond measure": (lambda m: m["shards"][0].update(rows=10**12), "shards.0.rows: found 10000000000"),
    "other rows": (
        lambda m: m["shards"][0].update(rows=121),
        "found 121 rows in 4 groups, expected 120",
    ),
    "an endless drive": (lambda m: m["episodes"][0].update(length=10**9), "episodes.0: found episode 0, se"),
    "an empty drive": (lambda m: m["episodes"][0].update(length=0), "episodes.0: found episode 0, seed 0, "),
    "a drive twice": (lambda m: m["episodes"][1].update(row_group=0), "episodes.1: found row group 0 of 'x-"),
    "a drive left out": (lambda m: m["episodes"].pop(), "found 120 rows in 4 groups, expected 90 in 3"),
    "drives in another order": (lambda m: m["episodes"].reverse(), "episodes.0: found episode 3"),
    "a word for a number": (
        lambda m: m["episodes"][2].update(seed="2"),
        "episodes.2.seed: found '2', expected a whole number",
    ),
    "no length": (lambda m: m["episodes"][2].pop("length"), "episodes.2.length: is missing"),
}


@pytest.mark.parametrize("case", LISTED)
def test_a_manifest_that_contradicts_itself_is_refused(folder, case):
    change, said = LISTED[case]
    relist(folder, change)
    with pytest.raises(CorruptShard) as caught:
        read_all(folder)
    assert said in str(caught.value)
    assert str(folder / MANIFEST) in str(caught.value)
    remedy = "the code that wrote it." if "version" in case or case == "newer" else f". Copy {folder} again."
    assert str(caught.value).endswith(remedy)


def test_in_a_manifest_only_flipped_bits_of_plain_values_pass(folder):
    """The manifest has no checksum of its own (DVC has one): a digit of a seed, a score or a reward, or a
    letter of a source's name. Nothing else."""
    path = folder / MANIFEST
    content = path.read_bytes()
    unseen = set()
    for number in range(0, 8 * len(content), 7):
        path.write_bytes(flipped(content, number // 8, number % 8))
        try:
            Shards(folder)
        except CorruptShard:
            continue
        line = content[content.rfind(b"\n", 0, number // 8) + 1 :].split(b":")[0]
        unseen.add(line.strip().decode())
    assert unseen <= {'"seed"', '"score"', '"warm_up_reward"', '"source"'}


@pytest.mark.parametrize("keep", [0, 1, 50, -1, -2])
def test_a_truncated_manifest_is_refused(folder, keep):
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptShard, match=r"manifest\.json: "):
        Shards(folder)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"NaN", b"[]", b"\xff\xfe", b"1e999", b'"\\ud800"'])
def test_malformed_manifests_are_refused(folder, content):
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(CorruptShard, match=r"manifest\.json: "):
        Shards(folder)


def test_every_bit_of_a_shard_counts(folder):
    path = next(folder.glob("*.parquet"))
    content = path.read_bytes()
    for number in range(0, 8 * len(content), 8 * 101 + 1):
        path.write_bytes(flipped(content, number // 8, number % 8))
        with pytest.raises(CorruptShard, match=r"x-00000\.parquet: checksum differs\. Copy .* again\."):
            Shards(folder)


def resign(folder):
    """Makes the manifest's checksums right for any shard content."""
    relist(folder, lambda m: [s.update(sha256=files.sha256(folder / s["file"])) for s in m["shards"]])


INFINITIES = pa.array([np.inf] * (STEPS * LATENT), pa.float32())
REWRITTEN = {
    "other columns": (lambda t: t.drop_columns("reward"), "found the columns action, episode, logvar,"),
    "another type": (lambda t: t.set_column(4, "action", t["reward"]), "found a column of "),
    "fewer rows": (lambda t: t.slice(1), "row group 0: found 29 rows, "),
    "more rows": (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "row group 0: found 31 rows, "),
    "missing values": (
        lambda t: t.set_column(5, "reward", pa.array([None] + [0.0] * (STEPS - 1), pa.float32())),
        "row group 0: values are missing",
    ),
    "no numbers": (
        lambda t: t.set_column(5, "reward", pa.array([np.nan] * STEPS, pa.float32())),
        "row group 0: reward has values that are not finite",
    ),
    "latents without end": (
        lambda t: t.set_column(2, "mu", pa.FixedSizeListArray.from_arrays(INFINITIES, LATENT)),
        "row group 0: mu has values that are not finite",
    ),
}


@pytest.mark.parametrize("case", REWRITTEN)
def test_a_shard_of_other_contents_is_refused_though_its_checksum_is_right(folder, case):
    change, said = REWRITTEN[case]
    path = next(folder.glob("*.parquet"))
    tables = [pq.ParquetFile(path).read_row_group(i) for i in range(4)]
    assert tables[0].column_names.index("mu") == 2
    assert tables[0].column_names[4:6] == ["action", "reward"]
    tables = [change(table) for table in tables]
    with pq.ParquetWriter(path, tables[0].schema, write_page_checksum=True) as writer:
        for table in tables:
            writer.write_table(table)
    resign(folder)
    with pytest.raises(CorruptShard) as caught:
        read_all(folder)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_bits_flipped_in_a_page_are_noticed_though_the_files_checksum_is_right(folder):
    path = next(folder.glob("*.parquet"))
    content = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    inside = column.data_page_offset + column.total_compressed_size - 5
    path.write_bytes(flipped(content, inside))
    resign(folder)
    with pytest.raises(CorruptShard, match=r"Copy .* again\."):
        read_all(folder)


def test_damaged_parts_of_unfinished_work_are_made_again(tmp_path, capsys):
    def made(seeds):
        return iter([drive(seed, "x", latents=True) for seed in seeds])

    expected = [one.record for one in resumable_episodes(tmp_path, list(range(20)), made)]
    for change in (
        lambda m: m.update(version=9),
        lambda m: m.pop("episodes"),
        lambda m: m["episodes"].append(1),
    ):
        relist(tmp_path / "000010", change)
        assert [one.record for one in resumable_episodes(tmp_path, list(range(20)), made)] == expected
        assert "damaged; driving its episodes again" in capsys.readouterr().err


# --- models


@pytest.fixture
def model(tmp_path):
    model_file.save(tmp_path / "rnn.eqx", RNN(**SIZES, key=jr.key(0)))
    return tmp_path / "rnn.eqx"


def test_every_bit_of_a_models_header_counts(model):
    content = model.read_bytes()
    end = content.index(b"\n") + 1
    for number in range(8 * end):
        model.write_bytes(flipped(content, number // 8, number % 8))
        with pytest.raises(BadModelFile):
            model_file.load(model, RNN)


def test_in_a_controllers_header_only_flipped_bits_of_the_limits_pass(tmp_path):
    """The checksum is that of the numbers behind the header; DVC's is of all."""
    path, limits = tmp_path / "controller.eqx", ((-1.0, 1.0), (0.25, 0.75), (0.0, 1.0))
    model_file.save(path, Controller(features=4, limits=limits))
    content = path.read_bytes()
    start, end = content.index(b'"limits"'), content.index(b'"pedals"')
    for number in range(8 * (content.index(b"\n") + 1)):
        if not start <= number // 8 < end:
            path.write_bytes(flipped(content, number // 8, number % 8))
            with pytest.raises(BadModelFile):
                model_file.load(path, Controller)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 1.0])
def test_a_flipped_byte_behind_the_header_is_noticed(model, part):
    content = model.read_bytes()
    start = content.index(b"\n") + 1
    at = start + int(part * (len(content) - start - 1))
    model.write_bytes(flipped(content, at, 4))
    with pytest.raises(
        BadModelFile, match=r"rnn\.eqx: sha256: found .*, expected .*\. Copy the agent's folder"
    ):
        model_file.load(model, RNN)


def rewrite(path, change, payload=None):
    """The model file with another header, its checksum made right."""
    first, rest = path.read_bytes().split(b"\n", 1)
    header, rest = json.loads(first), payload or rest
    header["sha256"] = model_header.checksum(rest)
    change(header)
    path.write_bytes(json.dumps(header).encode() + b"\n" + rest)


HEADERS = {
    "newer": (
        lambda h: h.update(version=2),
        "version: found 2, expected 1. Check out the version of the code ",
    ),
    "another kind": (lambda h: h.update(kind="VAE"), "kind: found VAE, expected RNN"),
    "other sizes": (lambda h: h["sizes"].update(hidden_size=9), "leaves.input_weight: found "),
    "a size left out": (lambda h: h["sizes"].pop("mixtures"), "expected those of RNN"),
    "a size too many": (lambda h: h["sizes"].update(depth=2), "expected those of RNN"),
    "no sizes": (lambda h: h.pop("sizes"), "sizes: is missing"),
    "sizes of no kind": (lambda h: h.update(sizes=[1]), "sizes: found [1], expected names with values"),
    "gigabytes": (lambda h: h["sizes"].update(hidden_size=2**40), "sizes.hidden_size: found 1099511627776, "),
    "gigabytes below the bound": (lambda h: h["sizes"].update(hidden_size=2**20), "leaves.input_weight: fou"),
    "less than nothing": (
        lambda h: h["sizes"].update(hidden_size=-1),
        "sizes.hidden_size: found -1, expected",
    ),
    "no hidden state": (lambda h: h["sizes"].update(hidden_size=0), "expected those of RNN"),
    "a word for a size": (lambda h: h["sizes"].update(hidden_size="8"), "expected those of RNN"),
    "a leaf too many": (lambda h: h["leaves"].append([".x", [1], "float32"]), "number of leaves: found 6, e"),
    "a leaf too few": (lambda h: h["leaves"].pop(), "number of leaves: found 4, expected 5"),
    "another type": (lambda h: h["leaves"][0].__setitem__(2, "float64"), "leaves.input_weight: found"),
    "another checksum": (lambda h: h.update(sha256="0" * 64), "sha256: found"),
    "more than is known": (
        lambda h: h.update(author="me"),
        "author: unknown name, expected one of kind, version, ",
    ),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_is_not_the_models_is_refused(model, case):
    change, said = HEADERS[case]
    rewrite(model, change)
    with pytest.raises(BadModelFile) as caught:
        model_file.load(model, RNN)
    assert said in str(caught.value)
    again = "Copy the agent's folder again, or name another with --models."
    assert str(caught.value).endswith("the code that wrote it." if case == "newer" else again)
    assert len(str(caught.value)) < 500


def test_numbers_of_other_shapes_are_refused_before_they_are_read(model):
    """The array claims 10^12 numbers; the header's sizes and its checksum are right."""
    payload = model.read_bytes().split(b"\n", 1)[1]
    huge = payload.replace(b"'shape': (7, 32), }     ", b"'shape': (10000, 10**8)}", 1)
    assert len(huge) == len(payload)
    rewrite(model, lambda h: None, huge)
    with pytest.raises(BadModelFile, match=r"input_weight: expected an array of float32 \[7, 32\] at byte"):
        model_file.load(model, RNN)


@pytest.mark.parametrize("extra", [-1, 1])
def test_numbers_too_few_or_too_many_are_refused(model, extra):
    payload = model.read_bytes().split(b"\n", 1)[1]
    rewrite(model, lambda h: None, payload[:-1] if extra < 0 else payload + b"\0")
    with pytest.raises(BadModelFile, match="bytes: found"):
        model_file.load(model, RNN)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["VAE", "RNN", "Ensemble", "Controller", "Snapshots"])
def test_a_model_with_a_value_that_is_not_finite_is_refused(tmp_path, kind, value):
    models = {
        "VAE": VAE(latent_size=2, widths=(2,), key=jr.key(0)),
        "RNN": RNN(**SIZES, key=jr.key(0)),
        "Ensemble": Ensemble(count=2, **SIZES, key=jr.key(0)),
        "Controller": Controller(features=3),
        "Snapshots": Snapshots(count=2, features=3),
    }
    leaves, tree = jax.tree.flatten(models[kind])
    leaves[-1] = leaves[-1].at[(-1,) * leaves[-1].ndim].set(value)
    model_file.save(tmp_path / "model.eqx", jax.tree.unflatten(tree, leaves))
    with pytest.raises(BadModelFile, match=r"found values that are not finite\. Train the model again"):
        model_file.load(tmp_path / "model.eqx", type(models[kind]))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"pedals": "feet"}, "pedals: found"),
        ({"limits": [[-1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]}, "limits: found"),
        ({"limits": [[-9.0, 1.0], [0.0, 1.0], [0.0, 1.0]]}, "limits: found"),
        ({"limits": [[-1.0, 1.0]]}, "limits: found"),
        ({"limits": "wide"}, "expected those of Controller"),
    ],
)
def test_a_controller_that_would_leave_the_action_space_is_refused(tmp_path, sizes, said):
    path = tmp_path / "controller.eqx"
    model_file.save(path, Controller(features=3))
    rewrite(path, lambda h: h["sizes"].update(sizes))
    with pytest.raises(BadModelFile, match="expected those of Controller") as caught:
        model_file.load(path, Controller)
    assert said in str(caught.value)


def test_a_folder_in_a_models_place_is_refused(tmp_path):
    with pytest.raises(BadModelFile, match="Is a directory, expected a model file"):
        model_file.load(tmp_path, RNN)


# --- other inputs of stages


@pytest.fixture
def starts(tmp_path):
    path, latents = tmp_path / "starts.npz", np.zeros((3, LATENT), np.float32)
    np.savez(path, mu=latents, logvar=latents, warm_up_reward=np.zeros(3, np.float32))
    assert isinstance(read_starts(path, LATENT), StartFrames)
    return path


def test_starts_whose_bits_are_flipped_are_refused_or_the_same(starts):
    content = starts.read_bytes()
    whole = read_starts(starts, LATENT)
    for number in range(0, 8 * len(content), 17):
        starts.write_bytes(flipped(content, number // 8, number % 8))
        try:
            found = read_starts(starts, LATENT)
        except BadInput:
            continue
        else:  # the bit belongs to a timestamp or ZIP's central directory
            assert eqx.tree_equal(found, whole)


@pytest.mark.parametrize("case", ["objects", "NaN", "none", "missing", "doubles", "an array", "truncated"])
def test_malformed_start_states_are_refused(starts, case):
    parts: dict[str, Any] = {name: np.zeros((3, LATENT), np.float32) for name in ("mu", "logvar")}
    parts["warm_up_reward"] = np.zeros(3, np.float32)
    if case == "objects":
        parts["mu"] = np.array([print] * 3, object)
    elif case == "NaN":
        parts["logvar"][1, 1] = np.nan
    elif case == "none":
        parts = {name: part[:0] for name, part in parts.items()}
    elif case == "missing":
        del parts["logvar"]
    elif case == "doubles":
        parts["mu"] = parts["mu"].astype(float)
    if case == "an array":
        with starts.open("wb") as file:
            np.save(file, parts["mu"])
    elif case == "truncated":
        starts.write_bytes(starts.read_bytes()[:-30])
    else:
        np.savez(starts, **parts)
    with pytest.raises(BadInput, match=r"starts\.npz: .*Copy the agent's folder again"):
        read_starts(starts, LATENT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("rules"), "rules: is missing"),
        (lambda s: s["rules"].update(sampling="guess"), "rules.sampling: found 'guess', expected 'sampled'"),
        (
            lambda s: s["rules"].update(sampling="denoised"),
            "rules.encoder_variance: found (), expected numbers where",
        ),
        (
            lambda s: s["rules"].update(encoder_variance=[0.1]),
            "rules.encoder_variance: found [0.1], expected",
        ),
        (lambda s: s["rules"].update(heat=1), "rules.heat: unknown"),
        (lambda s: s["score"].update(mean="high"), "score.mean: found 'high', expected a number"),
        (lambda s: s.update(score=[]), "score: found [], expected names with values"),
    ],
)
def test_scores_of_other_contents_are_refused(whole, tmp_path, change, said):
    content = files.read_json(whole / "metrics/rounds/r0/dream.json")
    change(content)
    files.write_json(tmp_path / "dream.json", content)
    with pytest.raises(BadInput) as caught:
        results.read(tmp_path / "dream.json", DreamResult)
    assert f"dream.json: {said}" in str(caught.value)


def test_a_chosen_round_that_params_do_not_name_is_refused(project, capsys):
    files.write_json(project / "metrics/ranks.json", {"chosen": "r9"})
    said = "error: metrics/ranks.json: chosen: found 'r9', expected one of r0. Run `dvc"
    for stage in ("evaluate", "fidelity", "report"):
        assert run_refused(capsys, stage).startswith(said)


def test_an_agents_environment_and_rules_are_checked(tmp_path):
    files.write_json(tmp_path / "environment.json", {"action_repeat": 0, "warm_up_frames": 50})
    files.write_json(tmp_path / "dream.json", {"rules": [1]})
    with pytest.raises(BadInput, match=r"environment\.json: action_repeat: "):
        AgentFolder(tmp_path).timing()
    with pytest.raises(BadInput, match=r"dream\.json: rules: "):
        AgentFolder(tmp_path).rules(latent_size=4)
    (tmp_path / "environment.json").write_text("{")
    with pytest.raises(BadInput, match=r"environment\.json: not valid JSON"):
        AgentFolder(tmp_path).timing()


def test_every_bit_of_a_checkpoint_counts(tmp_path, capsys):
    like = (jnp.zeros(3), {"count": jnp.array(0)})
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": 1}, like)
    checkpoints.save({"step": 2}, like)
    path = tmp_path / "newest"
    content = path.read_bytes()
    for number in range(0, 8 * len(content), 9):
        path.write_bytes(flipped(content, number // 8, number % 8))
        found = checkpoints.last(like)
        assert found is not None
        assert found[0] == {"step": 1}
        assert f"warning: {path}: damaged" in capsys.readouterr().err


def test_a_checkpoint_of_other_sizes_is_ignored(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": 1}, jnp.zeros(3))
    assert checkpoints.last(jnp.zeros(4)) is None
    assert "damaged" in capsys.readouterr().err


def test_no_flipped_bit_of_a_journal_is_accepted(tmp_path):
    path, candidates = tmp_path / "journal", np.arange(6.0).reshape(3, 2)
    Journal(path).write(0, candidates, np.array([1.5, 2.5, -0.5]))
    content = path.read_bytes()
    for number in range(8 * len(content)):
        path.write_bytes(flipped(content, number // 8, number % 8))
        assert Journal(path).fitness(0, candidates) is None
    path.write_bytes(content)
    found = Journal(path).fitness(0, candidates)
    assert found is not None
    assert found.tolist() == [1.5, 2.5, -0.5]


def test_a_journal_line_without_its_candidates_is_dropped(tmp_path):
    path, candidates = tmp_path / "journal", np.zeros((2, 2))
    Journal(path).write(0, candidates, np.zeros(2))
    entry = json.loads(path.read_text())
    del entry["candidates"]
    path.write_text(json.dumps(entry) + "\n")
    assert Journal(path).fitness(0, candidates) is None
