"""Dreams of a whole population of controllers, unrolled for a number of steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from wm.dream import dynamics
from wm.dream.dynamics import Outcome, Simulation, State, step
from wm.dream.starts import Starts
from wm.models import mdn, rnn
from wm.models.controller import Controller

CACHED_DREAMS = 1024  # whose gates, 4 kB each for 256 hidden units, fit in the caches of two cores


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
    dropout masks, so that the dreams differ only by the controllers' actions. On a CPU, as many controllers
    dream at once as its caches have room for.
    """
    population = controllers.bias.shape[0]
    size = at_once(population, len(starts.mu))

    def of_some(controllers: Controller) -> Unrolled:
        return _unroll(simulation, controllers, starts, key, steps, observe)

    if size == population:
        return of_some(controllers)
    groups = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), controllers)
    end, *recorded = jax.lax.map(of_some, groups)
    recorded = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), recorded)
    return Unrolled(_joined(end, 0), *_joined(recorded, 1))


def at_once(population: int, starts: int) -> int:
    """The number of controllers, a divisor of `population`, whose dreams are unrolled together: about
    `CACHED_DREAMS` dreams on one CPU, else all."""
    if jax.default_backend() != "cpu" or jax.device_count() > 1:
        return population
    most = max(1, CACHED_DREAMS // starts)
    return next(size for size in range(min(most, population), 0, -1) if population % size == 0)


def _joined(tree: Any, axis: int) -> Any:
    """The arrays with the axis and the next one as one."""
    return jax.tree.map(lambda leaf: leaf.reshape(*leaf.shape[:axis], -1, *leaf.shape[axis + 2 :]), tree)


def _unroll(
    simulation: Simulation,
    controllers: Controller,
    starts: Starts,
    key: PRNGKeyArray,
    steps: int,
    observe: Callable[[Array], Any],
) -> Unrolled:
    """`unroll` of all controllers at once."""
    simulator, rules = simulation.simulator, simulation.rules
    population = controllers.bias.shape[0]
    latent_key, mask_key, noise_key = jr.split(key, 3)
    z, noisy = dynamics.first_latent(starts.mu, starts.sample(latent_key), rules)
    masks = rnn.draw_masks(simulator, simulation.dropout, z.shape[:1], mask_key)
    act = jax.vmap(jax.vmap(Controller.__call__, in_axes=(None, 0, 0)))

    def advance(state: State, key: PRNGKeyArray) -> tuple[State, tuple[Outcome, Array, Any]]:
        noise = mdn.draw_noise(key, z.shape, simulator.mixtures)
        action = act(controllers, state.z, state.watched.hidden)
        after, outcome = step(simulation, state, action, noise, masks)
        return after, (outcome, action, observe(after.z))

    start = State(z, noisy, starts.memory, starts.watched)
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (population, *leaf.shape)), start)
    end, recorded = jax.lax.scan(advance, start, jr.split(noise_key, steps))
    return Unrolled(end, *recorded)
