"""The only gradient loop, a generator of the model after each step, and the training of a stage's model.

Batches are split over all devices.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from wm.errors import Halted
from wm.runtime import memory
from wm.runtime.checkpoint import Checkpoints
from wm.runtime.devices import split
from wm.runtime.progress import progress

M = TypeVar("M")
Loss = Callable[[Any, Any, PRNGKeyArray], tuple[Any, dict[str, Any]]]


class Diverged(Halted):
    """The loss is no longer finite."""


class Fitted(NamedTuple):
    """The state after a step: the model, the step's metrics, the optimiser's state."""

    model: Any
    metrics: dict[str, float]
    state: Any


class Resume(NamedTuple):
    """Where an interrupted training continues: after so many steps, with the optimiser's state."""

    steps_done: int
    state: Any


def adam(learning_rate: float, steps: int, clip: float) -> optax.GradientTransformation:
    """Adam with cosine decay to a hundredth over `steps`, gradients clipped at global norm `clip`."""
    schedule = optax.cosine_decay_schedule(learning_rate, steps, alpha=0.01)
    return optax.chain(optax.clip_by_global_norm(clip), optax.adam(schedule))


def updates(
    model: Any,
    loss: Loss,
    batches: Iterable[Any],
    optimiser: optax.GradientTransformation,
    *,
    key: PRNGKeyArray,
    resume: Resume | None = None,
) -> Iterator[Fitted]:
    """Yields the state after each batch's step; the next batch is read while the device computes.

    The next step reuses the memory of what was yielded: copy what must outlive it. After `resume`, `batches`
    are those that follow. Raises Diverged when a metric is not finite, and TooLarge before the first step if
    it does not fit the device's memory.
    """

    update = update_step(loss, optimiser)
    step, state = resume or Resume(0, start(optimiser, model))
    coming = iter(batches)
    batch = next(coming, None)
    while batch is not None:
        model, state, metrics = update((split(batch), jr.fold_in(key, step)), model, state)
        batch = next(coming, None)
        numbers = {name: float(value) for name, value in metrics.items()}
        if not all(map(math.isfinite, numbers.values())):
            raise Diverged(f"step {step}: the loss is no longer finite: {numbers}")
        yield Fitted(model, numbers, state)
        step += 1


def update_step(loss: Loss, optimiser: optax.GradientTransformation) -> Callable[..., Any]:
    """The jitted step: ((batch, key), model, state) -> (model, state, metrics). It reuses the memory of the
    model and the state."""

    @memory.checked
    @eqx.filter_jit(donate="all-except-first")
    def update(batch_and_key: Any, model: Any, state: Any) -> Any:
        batch, key = batch_and_key
        (_, metrics), grads = eqx.filter_value_and_grad(loss, has_aux=True)(model, batch, key)
        updates, state = optimiser.update(grads, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state, metrics

    return update


def start(optimiser: optax.GradientTransformation, model: Any) -> Any:
    """The optimiser's state before the first step."""
    return optimiser.init(eqx.filter(model, eqx.is_array))


@dataclass(frozen=True)
class Training:
    """A loss, its batches and the optimiser. `batches(n)` are those after the first n steps."""

    loss: Loss
    batches: Callable[[int], Iterable[Any]]
    steps: int
    learning_rate: float
    gradient_clip: float

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Adam over all the steps."""
        return adam(self.learning_rate, self.steps, self.gradient_clip)


@dataclass(frozen=True)
class Validation:
    """The metrics of a model on data that it is not trained on, computed every `every` steps."""

    metrics: Callable[[Any], dict[str, float]]
    every: int


def train(
    model: M,
    training: Training,
    validation: Validation,
    checkpoints: Checkpoints,
    *,
    key: PRNGKeyArray,
    label: str,
) -> tuple[M, list[dict[str, Any]]]:
    """The trained model and its curve: a row with the training's and the validation's metrics every
    `validation.every` steps and at the end.

    Resumes from the last checkpoint. Raises Diverged, whose message names the last good checkpoint.
    """
    optimiser, steps = training.optimiser, training.steps
    like = (model, start(optimiser, model))
    notes, (model, state) = checkpoints.last(like) or ({"step": 0, "curve": []}, like)
    done, curve = notes["step"], notes["curve"]
    fitted = updates(
        model, training.loss, training.batches(done), optimiser, key=key, resume=Resume(done, state)
    )
    try:
        for step, (model, metrics, state) in enumerate(progress(fitted, label, steps, done), done + 1):
            if step % validation.every == 0 or step == steps:
                trained = {f"train_{name}": value for name, value in metrics.items()}
                curve.append({"step": step, **trained, **validation.metrics(model)})
            if checkpoints.due or step == steps:
                checkpoints.save({"step": step, "curve": curve}, (model, state))
    except Diverged as error:
        raise Diverged(f"{label}: {error}. {checkpoints}") from None
    return model, curve


def mean_metrics(
    metrics: Callable[[Any, Any, PRNGKeyArray], dict[str, Any]],
    model: Any,
    batches: Iterable[Any],
    key: PRNGKeyArray,
) -> dict[str, float]:
    """The means of `metrics(model, batch, key)` over the batches."""
    rows = [metrics(model, batch, jr.fold_in(key, i)) for i, batch in enumerate(batches)]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


Result = TypeVar("Result")


def in_threads(trainings: Sequence[Callable[[Event], Result]]) -> list[Result]:
    """The results of several trainings that run at the same time, one thread each.

    One training alone leaves cores idle. On several devices the trainings run one after the other instead,
    because the communication between devices must not interleave. When one training raises, or at Ctrl-C, the
    event that each receives is set, at which it must end.
    """
    stop = Event()
    with ThreadPoolExecutor(len(trainings) if jax.device_count() == 1 else 1) as pool:
        futures = [pool.submit(training, stop) for training in trainings]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]
