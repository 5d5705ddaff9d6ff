"""Open-loop drift: the error of a dream under a real drive's actions, by steps dreamt."""

from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import PRNGKeyArray

from wm.data.batches import longest, stacked
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.dream.open_loop import WARM_STEPS, drift
from wm.models import rnn
from wm.models.rnn import RNN

STEPS = (5, 20, 50, 100)  # dreamt steps after which the errors are written


def mean_drift(
    simulators: Sequence[RNN], shards: Shards, records: list[Record], key: PRNGKeyArray
) -> dict[str, float]:
    """Root mean square errors on these drives, averaged over the simulators: of the latents (all dimensions
    together), and of the sum of rewards in points."""
    length = max(longest(records), WARM_STEPS + max(STEPS))
    batch = rnn.to_batch(stacked(shards, records, length))
    measure = eqx.filter_jit(drift)
    errors = [measure(simulator, batch, key, warm=WARM_STEPS, steps=max(STEPS)) for simulator in simulators]
    latents, rewards = (np.mean(values, axis=0) for values in zip(*errors, strict=True))
    named = {"latent": latents, "reward": rewards}
    return {f"{name}_{n}": round(float(v[n - 1]), 4) for name, v in named.items() for n in STEPS}
