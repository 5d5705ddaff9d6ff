"""M's validation loss after equally many drive steps, for several shapes of its batches and learning rates.

    uv run python -m bench.windows 32x60@0.008 16x475@0.002      # windows x steps @ learning rate

`dvc repro encode initialise` must have made the data and the untrained RNNs. Trains the agent's own RNN on
the scripted drives, everything else as in params.yaml, and appends a row per setting to
docs/experiments/data/windows.csv or to `--table`.
"""

import argparse
import re
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax.random as jr

from bench import process, tables
from bench.runs import commit
from stages import train_rnn
from wm.data.cached import CachedShards
from wm.errors import BadInput
from wm.models import fit, rnn, rnn_data, rnn_files
from wm.models.fit import Training, Validation
from wm.models.rnn import LossWeights
from wm.models.rnn_data import BatchShape, WindowBatches
from wm.params import file
from wm.params.names import INIT
from wm.params.train_rnn import TrainRNN
from wm.runtime import devices, places, run
from wm.runtime.checkpoint import Checkpoints

TABLE = Path(__file__).parents[1] / "docs" / "experiments" / "data" / "windows.csv"
DRIVE_STEPS = 3_000_000
SETTING = re.compile(r"(\d+)x(\d+)@([\d.]+)")


class Setting(NamedTuple):
    """The shape of a batch, and the initial learning rate."""

    shape: BatchShape
    learning_rate: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.windows", description=__doc__)
    parser.add_argument("settings", nargs="+", help="windows x steps @ learning rate, such as 32x60@0.008")
    parser.add_argument("--drive-steps", type=int, default=DRIVE_STEPS, help=f"default {DRIVE_STEPS:,}")
    parser.add_argument("--table", type=Path, default=TABLE, help="CSV file to append to")
    arguments = parser.parse_args()
    for setting in [parsed(text) for text in arguments.settings]:
        tables.append(measure(setting, arguments.drive_steps), arguments.table)


def parsed(text: str) -> Setting:
    """A setting from its text. Raises BadInput."""
    if not (found := SETTING.fullmatch(text)):
        raise BadInput(f"{text}: expected windows x steps @ learning rate, such as 32x60@0.008")
    return Setting(BatchShape(int(found[1]), int(found[2])), float(found[3]))


def measure(setting: Setting, drive_steps: int) -> dict[str, object]:
    """A table row: the losses of an RNN after about so many drive steps, and the seconds this took."""
    params = file.load().train_rnn
    shape, rate = setting
    steps = max(drive_steps // (shape.windows * shape.steps), 1)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        losses = trained(setting, steps, params, Path(folder))
    return {
        "windows": shape.windows,
        "steps": shape.steps,
        "learning_rate": rate,
        "gradient_steps": steps,
        "loss": round(losses["loss"], 3),
        "nll": round(losses["nll"], 3),
        "seconds": round(time.monotonic() - started),
        "commit": commit(),
    }


def trained(setting: Setting, steps: int, params: TrainRNN, folder: Path) -> dict[str, float]:
    """The validation metrics after training, as the stage trains the agent's own RNN of the first round."""
    shards, model = CachedShards(places.LATENTS / INIT), rnn_files.read(places.ROUND_MODELS / INIT).own
    records = shards.kept(validation=False)
    loss = partial(
        rnn.loss, weights=LossWeights(params.reward_weight, params.missed_tile_weight, params.done_weight)
    )
    batcher = rnn_data.batcher(shards, records, setting.shape.steps)
    windows = WindowBatches(batcher, records, [], params.newest_share, setting.shape, [params.seed, 0, 0])
    check = eqx.filter_jit(partial(train_rnn.validate, loss=partial(loss, dropout=0.0)))
    validation = train_rnn.validation_batches(shards, params, [])
    fit_key, check_key = jr.split(jr.key(params.seed))
    training = Training(
        rnn.with_rounded_weights(partial(loss, dropout=params.dropout), devices.precision(params.precision)),
        lambda done: windows.draw(steps, done),
        steps,
        setting.learning_rate,
        params.gradient_clip,
    )
    metrics = partial(fit.mean_metrics, check, batches=validation, key=check_key)
    label = f"{setting.shape.windows} x {setting.shape.steps} at {setting.learning_rate}"
    _, curve = fit.train(
        model, training, Validation(metrics, steps), Checkpoints(folder), key=fit_key, label=label
    )
    return curve[-1]


if __name__ == "__main__":
    process.set_up()
    run.run(main)
