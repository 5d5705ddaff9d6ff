"""Open-loop drift: how fast a dream departs from the real drive under the same actions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from wm.models import mdn, rnn
from wm.models.rnn import RNN, Memory

WARM_STEPS = 40  # real steps before the dream, wherever the pipeline measures the drift


def drift(
    model: RNN, batch: rnn.Batch, key: PRNGKeyArray, *, warm: int, steps: int
) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
    """The errors of latents (all dimensions together) and of summed rewards (points) after each dreamt step.

    The memory has seen `warm` real steps; then the latent of each step is the mean of the predicted mixture.
    Root mean squares over the drives that are not over yet.
    """
    z = rnn.sample_latents(batch, key)
    start = jax.tree.map(lambda leaf: leaf[-1], rnn.unroll(model, z[:, :warm], batch.action[:, :warm]))

    window = slice(warm, warm + steps)
    actions = jnp.swapaxes(batch.action[:, window], 0, 1)

    def advance(memory: Memory, action: Array) -> tuple[Memory, tuple[Array, Array]]:
        z = mdn.expectation(model.predict(memory.hidden).mixture)
        memory = model.advance(model.inputs(z, action), memory)
        return memory, (z, model.predict(memory.hidden).reward)

    latents, rewards = jax.lax.scan(advance, start, actions)[1]
    mask = jnp.swapaxes(batch.mask[:, window], 0, 1)
    error = jnp.sum((latents - jnp.swapaxes(batch.mu[:, window], 0, 1)) ** 2, axis=-1)
    real = jnp.swapaxes(batch.reward[:, window], 0, 1)
    points = jnp.cumsum(jnp.where(mask, rewards - real, 0), axis=0) ** 2
    count = jnp.maximum(mask.sum(axis=1), 1)

    def root_mean(values: Array) -> Array:
        return jnp.sqrt(jnp.where(mask, values, 0).sum(axis=1) / count)

    return root_mean(error), root_mean(points)
