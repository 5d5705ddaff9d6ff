"""The one gradient loop, a generator of the model after each step, and the training of a stage's model.

Batches are shared out over all devices.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax.random as jr
import optax
from jaxtyping import PRNGKeyArray

from wm.errors import Halted
from wm.runtime.checkpoint import Checkpoints
from wm.runtime.devices import split
from wm.runtime.progress import progress

M = TypeVar("M")


class Diverged(Halted):
    """The loss is no longer a number."""


class Fitted(NamedTuple):
    """What one step left: the model, the step's metrics, the optimiser's state."""

    model: Any
    metrics: dict[str, float]
    state: Any


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
    done: int = 0,
    state: Any = None,
) -> Iterator[Fitted]:
    """Yields what each batch's step left; the next batch is read while the device computes. Raises
    Diverged at a loss of NaN or infinity.

    What was yielded is given up to the next step: keep a copy of what must outlive it. `state` goes on
    from where the optimiser was after `done` steps, `batches` being those that follow.
    """

    @eqx.filter_jit(donate="all-except-first")
    def update(batch_and_key: Any, model: M, state: Any) -> Any:
        batch, key = batch_and_key
        (_, metrics), grads = eqx.filter_value_and_grad(loss, has_aux=True)(model, batch, key)
        updates, state = optimiser.update(grads, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state, metrics

    state = start(optimiser, model) if state is None else state
    coming = iter(batches)
    batch, step = next(coming, None), done
    while batch is not None:
        model, state, metrics = update((split(batch), jr.fold_in(key, step)), model, state)
        batch = next(coming, None)
        numbers = {name: float(value) for name, value in metrics.items()}
        if not all(map(math.isfinite, numbers.values())):
            raise Diverged(f"step {step}: the loss is no longer finite: {numbers}")
        yield Fitted(model, numbers, state)
        step += 1


def start(optimiser: optax.GradientTransformation, model: Any) -> Any:
    """The optimiser's state before the first step."""
    return optimiser.init(eqx.filter(model, eqx.is_array))


def train(
    model: M,
    loss: Callable[[M, Any, PRNGKeyArray], tuple[Any, dict[str, Any]]],
    batches: Callable[[int], Iterable[Any]],
    optimiser: optax.GradientTransformation,
    *,
    key: PRNGKeyArray,
    steps: int,
    check: Callable[[M], dict[str, float]],
    check_every: int,
    checkpoints: Checkpoints,
    label: str,
) -> tuple[M, list[dict[str, Any]]]:
    """The trained model and its curve: a row with the training's own and `check`'s metrics every
    `check_every` steps and at the end. Goes on from the last checkpoint; `batches(n)` are those after
    the first n. Raises Diverged, which names the last good checkpoint.
    """
    like = (model, start(optimiser, model))
    notes, (model, state) = checkpoints.last(like) or ({"step": 0, "curve": []}, like)
    done, curve = notes["step"], notes["curve"]
    fitting = fit(model, loss, batches(done), optimiser, key=key, done=done, state=state)
    try:
        for step, (model, metrics, state) in enumerate(progress(fitting, label, steps, done), done + 1):
            if step % check_every == 0 or step == steps:
                training = {f"train_{name}": value for name, value in metrics.items()}
                curve.append({"step": step, **training, **check(model)})
            if checkpoints.due or step == steps:
                checkpoints.save({"step": step, "curve": curve}, (model, state))
    except Diverged as error:
        raise Diverged(f"{label}: {error}. {checkpoints}") from None
    return model, curve
