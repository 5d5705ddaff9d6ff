"""The effect of one change on a round: its controller is evolved again and driven on development tracks.

    uv run python -m bench.ablations r3 "no value" evolve.value_steps=1 evolve.horizon_steps=80

`dvc repro` must have made the data and models of the round before. A change of `train_rnn` trains the
round's RNNs again, a change of `initialise` trains new ones (for `train_rnn.steps`), and any other change
only evolves. One row per evolution seed is appended to docs/experiments/data/ablations.csv or to
`--table`. The tracks, seeds 500000 and up, are never those of `evaluate`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from bench import process, tables
from bench.runs import below
from wm.errors import BadInput
from wm.params import file
from wm.params.file import PARAMS
from wm.params.names import INIT
from wm.runtime import files, run

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "experiments" / "data" / "ablations.csv"
FIRST_TRACK, TRACKS = 500_000, 40
MODELS = "models/rounds"


def main() -> None:
    arguments = parser().parse_args()
    change = Change(arguments.name, arguments.round, tuple(arguments.changes))
    for row in measure(change, arguments.seeds, arguments.tracks):
        tables.append(row, arguments.table)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.ablations", description=__doc__)
    parser.add_argument("round", help="name of the round in params.yaml")
    parser.add_argument("name", help="name of the change in the table")
    parser.add_argument("changes", nargs="*", help="section.key=value, written as in params.yaml")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of evolution; default 1 2 3")
    parser.add_argument("--tracks", type=int, default=TRACKS, help=f"development tracks; default {TRACKS}")
    parser.add_argument("--table", type=Path, default=TABLE, help="CSV file to append to")
    return parser


class Change(NamedTuple):
    """A change of params.yaml: its name in the table, the round it applies to, the values it sets."""

    name: str
    round: str
    settings: tuple[str, ...]


def measure(change: Change, seeds: Sequence[int], tracks: int = TRACKS) -> Iterator[dict[str, Any]]:
    """One table row per evolution seed: dream and real scores of the round's controller after the change.

    RNNs that the change trains again are the same for all seeds.
    """
    params = file.read(ROOT / PARAMS)
    prev = params["rounds"][change.round]["prev"]
    params["evaluate"] = {"seed": FIRST_TRACK, "episodes": tracks}
    for setting in change.settings:
        apply(setting, params)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(params, folder)
        prepare(folder, change, prev)
        for seed in seeds:
            started = time.monotonic()
            apply(seed_setting := f"evolve.seed={seed}", params)
            write(params, folder)
            stage(folder, "evolve", change.round, prev)
            stage(folder, "evaluate")
            row = {
                "name": change.name,
                "changes": " ".join([*change.settings, seed_setting]),
                "round": change.round,
                **scores(folder / "metrics", change.round),
                "seconds": round(time.monotonic() - started),
            }
            print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
            yield row


def write(params: dict[str, Any], folder: Path) -> None:
    """Writes params.yaml into `folder`."""
    YAML().dump(params, folder / PARAMS)


def prepare(folder: Path, change: Change, prev: str) -> None:
    """Places the inputs of evolution in `folder`: links to the project's own, or models trained there."""
    changed = {setting.split(".")[0] for setting in change.settings}
    link(folder, "data/latents", prev)
    link(folder, "models", "vae.eqx")
    if "initialise" in changed:
        stage(folder, "initialise")
        (folder / MODELS / INIT).rename(folder / MODELS / prev)
    else:
        link(folder, MODELS, prev)
    if changed & {"initialise", "train_rnn"}:
        stage(folder, "train_rnn", change.round, prev)
    else:
        link(folder, f"{MODELS}/{change.round}", "rnn.eqx", "simulators.eqx")
        link(folder, f"metrics/rounds/{change.round}", "train_rnn.json")
    files.write_json(folder / "metrics/ranks.json", {"chosen": change.round})  # the round that is evaluated


def scores(metrics: Path, round_name: str) -> dict[str, Any]:
    """M's losses and the controller's scores, from the metrics of the round and of its evaluation."""
    losses, dream = (
        files.read_json(metrics / "rounds" / round_name / f"{name}.json") for name in ("train_rnn", "dream")
    )
    real = files.read_json(metrics / "real.json")
    return {
        "nll": losses["rnn"]["nll"],
        "reward_drift_20": losses["rnn"]["reward_drift_20"],
        "dream": dream["score"]["mean"],
        "dream_std": dream["score"]["std"],
        "dream_laps": dream["laps"],
        "dream_lap_frames": dream["lap_frames"],
        **{key: real["score"][key] for key in ("mean", "std", "median", "min", "max")},
        "laps": real["laps"],
        "lap_frames": real["lap_frames"],
        "missed": real["missed"],
        "below_600": below(metrics / "real.csv"),
        "tracks": real["score"]["n"],
    }


def apply(setting: str, params: dict[str, Any]) -> None:
    """Sets the value that `a.b.c=value` names. Raises BadInput for an unknown parameter."""
    place, _, value = setting.partition("=")
    *path, last = place.split(".")
    section: Any = params
    for part in path:
        section = section.get(part) if isinstance(section, dict) else None
    if not isinstance(section, dict) or isinstance(section.get(last, {}), dict):
        raise BadInput(f"{PARAMS}: found no parameter {setting!r}, expected section.key=value")
    section[last] = YAML(typ="safe").load(value)


def link(folder: Path, parent: str, *names: str) -> None:
    """Links the project's files and folders to the same places in `folder`."""
    (folder / parent).mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / parent / name).symlink_to(ROOT / parent / name)


def stage(folder: Path, name: str, *arguments: str) -> None:
    """Runs a stage in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages", name, *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    process.set_up()
    run.run(main)
