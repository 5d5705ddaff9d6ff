"""The dream: an RNN run on its own samples. Pure functions, batched by their leading axes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from wm.dream.dynamics import Outcome, Rules, State, step
from wm.dream.starts import Starts, sample_starts
from wm.models import mdn, rnn
from wm.models.controller import Controller
from wm.models.rnn import RNN


def unroll(
    simulator: RNN,
    watcher: RNN,
    controller: Controller,
    starts: Starts,
    key: PRNGKeyArray,
    *,
    steps: int,
    rules: Rules,
    dropout: float,
    look: Callable[[Array], Any] = lambda z: None,
) -> tuple[State, Outcome, Float[Array, "time population start action"], Any]:
    """Every controller's dreams from every start, for `steps` steps: (time, population, start).

    Returns where they end, what the steps brought, the actions, and what `look` makes of each latent dreamt.

    `controller` has a leading population axis. All of the population meet the same starts, the
    same noise and the same dropout masks, so that they differ by what they do alone.
    """
    population = controller.bias.shape[0]
    latent_key, mask_key, noise_key = jr.split(key, 3)
    z = starts.mu if rules.denoised else sample_starts(starts, latent_key)
    masks = rnn.draw_masks(simulator, dropout, z.shape[:1], mask_key)
    act = jax.vmap(jax.vmap(Controller.__call__, in_axes=(None, 0, 0)))

    def advance(state: State, key: PRNGKeyArray) -> tuple[State, tuple[Outcome, Array, Any]]:
        noise = mdn.draw_noise(key, z.shape, simulator.mixtures)
        action = act(controller, state.z, state.watched.hidden)
        after, outcome = step(simulator, watcher, state, action, noise, rules, masks)
        return after, (outcome, action, look(after.z))

    start = State(z, starts.memory, starts.watched)
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (population, *leaf.shape)), start)
    end, (outcome, actions, looks) = jax.lax.scan(advance, start, jr.split(noise_key, steps))
    return end, outcome, actions, looks
