"""What one change of the recipe does to a round: its agent made anew, driven on development tracks.

    uv run python -m bench.levers r3 "no value" evolve.value_steps=1 evolve.horizon_steps=80

The data and models that the round starts from stay as they are, so `dvc repro` must have made them. A
change of `train_rnn` trains its RNNs again, one of `initialise` begins them anew (for `train_rnn.steps`), any
other only evolves. A line for each evolution seed goes to the end of docs/levers.csv, or of `--table`. The
tracks, 500000 and up, are never those of `evaluate`.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from wm.errors import BadInput
from wm.params import file
from wm.params.file import PARAMS
from wm.params.rounds import FIRST_ROUND, ancestry
from wm.runtime import files, run

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "levers.csv"
FIRST_TRACK, TRACKS = 500_000, 40
LOST = 600  # points; a drive below is one that got stuck


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.levers", description=__doc__)
    parser.add_argument("round", help="its name in params.yaml")
    parser.add_argument("name", help="what the change is called in the table")
    parser.add_argument("changes", nargs="*", help="section.key=value, the value as in params.yaml")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of evolution")
    parser.add_argument("--table", type=Path, default=TABLE, help="the CSV file that the lines go to")
    arguments = parser.parse_args()
    for row in measured(arguments.round, arguments.name, arguments.changes, arguments.seeds):
        append(row, arguments.table)


def measured(
    round_name: str, name: str, changes: list[str], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """The round's agent under the changed parameters, its dream and its real scores, for each seed of
    evolution; RNNs that have to be trained are the same for all."""
    params = file.read(ROOT / PARAMS)
    ancestry(round_name, params["rounds"])
    prev = params["rounds"][round_name]["prev"]
    params["evaluate"] = {"seed": FIRST_TRACK, "episodes": TRACKS}
    for change in changes:
        apply(change, params)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(params, folder)
        given(folder, round_name, prev, {change.split(".")[0] for change in changes})
        for seed in seeds:
            began = time.monotonic()
            apply(one := f"evolve.seed={seed}", params)
            write(params, folder)
            stage(folder, "evolve", round_name, prev)
            stage(folder, "evaluate", round_name)
            row = {
                "name": name,
                "changes": " ".join([*changes, one]),
                "round": round_name,
                **came_to(folder / "metrics" / round_name),
                "seconds": round(time.monotonic() - began),
            }
            print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
            yield row


def write(params: dict[str, Any], folder: Path) -> None:
    """The parameters that stages in `folder` read."""
    YAML().dump(params, folder / PARAMS)


def given(folder: Path, round_name: str, prev: str, changed: set[str]) -> None:
    """What evolution starts from, in `folder`: the project's own, or trained there if these sections of the
    parameters have an influence on it."""
    link(folder, "data/latents", prev)
    link(folder, "models", "vae.eqx")
    if "initialise" in changed:
        stage(folder, "initialise")
        (folder / "models" / FIRST_ROUND).rename(folder / "models" / prev)
    else:
        link(folder, "models", prev)
    if changed & {"initialise", "train_rnn"}:
        stage(folder, "train_rnn", round_name, prev)
    else:
        link(folder, f"models/{round_name}", "rnn.eqx", "simulators.eqx")
        link(folder, f"metrics/{round_name}", "train_rnn.json")


def came_to(home: Path) -> dict[str, Any]:
    """What the stages wrote of one driver, in short."""
    model, dream, real = (files.read_json(home / f"{name}.json") for name in ("train_rnn", "dream", "real"))
    with (home / "real.csv").open(newline="", encoding="utf-8") as file:
        scores = np.array([float(row["score"]) for row in csv.DictReader(file)])
    return {
        "nll": model["rnn"]["nll"],
        "reward_drift_20": model["rnn"]["reward_drift_20"],
        "dream": dream["score"]["mean"],
        "dream_std": dream["score"]["std"],
        "dream_laps": dream["laps"],
        **{key: real["score"][key] for key in ("mean", "std", "median", "min", "max")},
        "laps": real["laps"],
        "missed": real["missed"],
        "lost": int((scores < LOST).sum()),
        "tracks": TRACKS,
    }


def apply(change: str, params: dict[str, Any]) -> None:
    """Sets what `a.b.c=value` names. Raises BadInput where there is no such parameter."""
    place, _, value = change.partition("=")
    *path, last = place.split(".")
    section: Any = params
    for part in path:
        section = section.get(part) if isinstance(section, dict) else None
    if not isinstance(section, dict) or isinstance(section.get(last, {}), dict):
        raise BadInput(f"{change}: no such parameter in {PARAMS}, wanted section.key=value")
    section[last] = YAML(typ="safe").load(value)


def link(folder: Path, parent: str, *names: str) -> None:
    """The project's own files and folders, as they are, at the same places in `folder`."""
    (folder / parent).mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / parent / name).symlink_to(ROOT / parent / name)


def stage(folder: Path, name: str, *arguments: str) -> None:
    """Runs a stage in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"stages.{name}", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def append(row: dict[str, Any], table: Path) -> None:
    """One more line at the end of the table."""
    new = not table.exists()
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    run.run(main)
