"""The one gradient loop: a generator of the model after each step."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import equinox as eqx
import jax.random as jr
import optax
from jaxtyping import PRNGKeyArray

M = TypeVar("M")


class Diverged(Exception):
    """The loss is no longer a number."""


def adam(learning_rate: float, steps: int, clip: float) -> optax.GradientTransformation:
    """Adam with cosine decay to a hundredth over `steps`, gradients clipped at global norm `clip`."""
    schedule = optax.cosine_decay_schedule(learning_rate, steps, alpha=0.01)
    return optax.chain(optax.clip_by_global_norm(clip), optax.adam(schedule))


def fit(
    model: M,
    loss: Callable[[M, Any, PRNGKeyArray], tuple[Any, dict[str, Any]]],
    batches: Iterable[Any],
    optimiser: optax.GradientTransformation,
    *,
    key: PRNGKeyArray,
) -> Iterator[tuple[M, dict[str, float]]]:
    """Yields (model, metrics of the step) for every batch. Raises Diverged at a loss of NaN or infinity.

    The model that was yielded is given up to the next step: keep a copy of what must outlive it.
    """

    @eqx.filter_jit(donate="all-except-first")
    def update(batch_and_key: Any, model: M, state: Any) -> Any:
        batch, key = batch_and_key
        (_, metrics), grads = eqx.filter_value_and_grad(loss, has_aux=True)(model, batch, key)
        updates, state = optimiser.update(grads, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state, metrics

    state = optimiser.init(eqx.filter(model, eqx.is_array))
    for step, batch in enumerate(batches):
        model, state, metrics = update((batch, jr.fold_in(key, step)), model, state)
        numbers = {name: float(value) for name, value in metrics.items()}
        if not all(map(math.isfinite, numbers.values())):
            raise Diverged(f"step {step}: the loss is no longer finite: {numbers}")
        yield model, numbers
