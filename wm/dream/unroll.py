"""Dreams of a whole population of controllers, unrolled for a number of steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from wm.dream.dynamics import Outcome, Simulation, State, step
from wm.dream.starts import Starts
from wm.models import mdn, rnn
from wm.models.controller import Controller


class Unrolled(NamedTuple):
    """Dreams of (population, start): the state after the last step; outcome, action and `observe`'s result of
    each step, time first."""

    end: State
    outcome: Outcome
    action: Float[Array, "time population start action"]
    observed: Any


def unroll(
    simulation: Simulation,
    controllers: Controller,
    starts: Starts,
    key: PRNGKeyArray,
    *,
    steps: int,
    observe: Callable[[Array], Any] = lambda z: None,
) -> Unrolled:
    """The dreams of every controller from every start state; `observe` maps the latents of each step.

    `controllers` has a leading population axis. The whole population meets the same start states, noise and
    dropout masks, so that the dreams differ only by the controllers' actions.
    """
    simulator, rules = simulation.simulator, simulation.rules
    population = controllers.bias.shape[0]
    latent_key, mask_key, noise_key = jr.split(key, 3)
    z = starts.mu if rules.denoised else starts.sample(latent_key)
    masks = rnn.draw_masks(simulator, simulation.dropout, z.shape[:1], mask_key)
    act = jax.vmap(jax.vmap(Controller.__call__, in_axes=(None, 0, 0)))

    def advance(state: State, key: PRNGKeyArray) -> tuple[State, tuple[Outcome, Array, Any]]:
        noise = mdn.draw_noise(key, z.shape, simulator.mixtures)
        action = act(controllers, state.z, state.watched.hidden)
        after, outcome = step(simulation, state, action, noise, masks)
        return after, (outcome, action, observe(after.z))

    start = State(z, starts.memory, starts.watched)
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (population, *leaf.shape)), start)
    end, recorded = jax.lax.scan(advance, start, jr.split(noise_key, steps))
    return Unrolled(end, *recorded)
