"""The terminal value of dreams, fitted to what real drives earned after moments like a dream's last."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from wm.data.batches import longest
from wm.models import rnn, value
from wm.models.rnn import RNN
from wm.models.value import Value
from wm.search.payoff import Payoff
from wm.search.real_drives import DriveSample, padded_batches

STRIDE = 3  # steps between two training pairs of a drive, since neighbours differ little


@dataclass(frozen=True)
class ValueTarget:
    """What the value predicts: what the next `steps` steps pay, the cost of missed tiles included."""

    payoff: Payoff
    steps: int


def terminal_values(
    simulators: Sequence[RNN], target: ValueTarget, drives: DriveSample, key: PRNGKeyArray
) -> list[Value]:
    """The value of each simulator's hidden states. Prints how well it predicts validation drives."""
    values = []
    for number, simulator in enumerate(simulators, start=1):
        fitted, explained = terminal_value(simulator, target, drives, key)
        which = f"{number} of {len(simulators)}"
        print(f"terminal value {which}: explains {explained:.0%} of the variance on validation drives")
        values.append(fitted)
    return values


def terminal_value(
    simulator: RNN, target: ValueTarget, drives: DriveSample, key: PRNGKeyArray
) -> tuple[Value, float]:
    """The value of the simulator's hidden states, and the share of the variance that it explains on
    validation drives."""

    def pairs(validation: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        length = longest(drives.shards.kept(validation=validation))
        drawn = drives.validation() if validation else drives.draw()
        for number, records, columns in padded_batches(drives.shards, drawn, length):
            hidden = np.asarray(_hidden_states(simulator, rnn.to_batch(columns), jr.fold_in(key, number)))
            for i, record in enumerate(records):
                steps = slice(record.length)
                paid = target.payoff.of_drive(columns["reward"][i, steps], columns["missed"][i, steps])
                points = value.sums_ahead(paid, target.steps)[::STRIDE]
                yield hidden[i, : len(points) * STRIDE : STRIDE], points

    shortcut = target.payoff.missed_tile_cost * rnn.MAX_MISSED
    lowest = target.payoff.idle * target.steps - shortcut  # a car that never returns from it
    highest = target.payoff.pace * target.steps
    fitted = value.least_squares(pairs(validation=False), lowest=lowest, highest=highest, seed=drives.seed)
    return fitted, value.explained(fitted, pairs(validation=True))


@eqx.filter_jit
def _hidden_states(simulator: RNN, batch: rnn.Batch, key: PRNGKeyArray) -> Float[Array, "batch time hidden"]:
    hidden = rnn.unroll(simulator, rnn.sample_latents(batch, key), batch.action).hidden
    return jnp.swapaxes(hidden, 0, 1)
