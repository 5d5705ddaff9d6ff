"""The validation loss of a training stage with changed parameters, on the data of the last `dvc repro`.

    uv run python -m bench.training train_vae train_vae.batch_size=64 train_vae.steps=1500
    uv run python -m bench.training train_rnn train_rnn.first_round_window_steps=120    # of the first round

The stage runs in a temporary folder. Appends a row to docs/experiments/data/training.csv or to `--table`.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import ablations, process, tables
from bench.pages import DATA
from bench.runs import commit
from wm.params import check, file
from wm.params.file import PARAMS
from wm.params.names import INIT
from wm.runtime import files, run

TABLE = DATA / "training.csv"
FIRST = "r0"  # the round whose RNNs are trained


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=__doc__)
    parser.add_argument("stage", choices=["train_vae", "train_rnn"])
    parser.add_argument("changes", nargs="*", help="section.key=value, written as in params.yaml")
    parser.add_argument("--table", type=Path, default=TABLE, help="CSV file to append to")
    arguments = parser.parse_args()
    params = file.read(ablations.ROOT / PARAMS)
    for setting in arguments.changes:
        ablations.apply(setting, params)
    check.check(params)
    tables.append(measure(arguments.stage, params), arguments.table)


def measure(stage: str, params: dict[str, Any]) -> dict[str, object]:
    """A table row: the batches, the learning rate, the validation losses and the seconds."""
    settings = params[stage]
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        losses = trained(stage, params, Path(scratch))
    first = "" if stage == "train_vae" else "first_round_"
    return {
        "stage": stage,
        "batch_size": settings[f"{first}batch_size"],
        "window_steps": settings.get(f"{first}window_steps", 1),
        "learning_rate": settings[f"{first}learning_rate"],
        "steps": settings[f"{first}steps"],
        "loss": losses["loss"],
        "reward_error": losses.get("reward_error", ""),
        "seconds": round(time.monotonic() - started),
        "commit": commit(),
    }


def trained(stage: str, params: dict[str, Any], folder: Path) -> dict[str, float]:
    """The last metrics of V, or of the agent's own RNN, after the stage has run in `folder`."""
    ablations.write(params, folder)
    if stage == "train_vae":
        ablations.link(folder, "data/processed", INIT)
        ablations.stage(folder, stage)
        return files.read_json(folder / "metrics/train_vae.json")
    ablations.link(folder, "data/latents", INIT)
    ablations.link(folder, ablations.MODELS, INIT)
    ablations.stage(folder, stage, FIRST, INIT)
    return files.read_json(folder / "metrics/rounds" / FIRST / "train_rnn.json")["rnn"]


if __name__ == "__main__":
    process.set_up()
    run.run(main)
