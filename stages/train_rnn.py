"""Trains the RNNs of a round, going on from the round before: `python -m stages train_rnn r0 init`.

The agent's own and the simulators side by side, each on batches of its own.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import lru_cache, partial
from itertools import takewhile
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from wm.data import resident
from wm.data.batches import draw, longest, stacked
from wm.data.episode import Episode, Record
from wm.data.shards import Shards
from wm.dream.drift import drift as open_loop_drift
from wm.models import fit, rnn
from wm.models.rnn import RNN, Batch, Ensemble
from wm.params.model import Params
from wm.params.train_rnn import TrainRNN
from wm.runtime import devices, files, model_file, places, scratch
from wm.runtime.checkpoint import Checkpoints

LATENTS, MODELS, METRICS = places.LATENTS, places.ROUND_MODELS, places.ROUND_METRICS
DRIFT_WARM, DRIFT_STEPS = 40, (5, 20, 50)  # real steps before, and dreamt steps after which
RECENT_EPISODES = 4096  # stay in memory, some 300 MB of latents

Trained = TypeVar("Trained")
Batcher = Callable[[list[Record]], Batch]


class InMemory(Shards):
    """Shards whose episodes are read once, as long as no more than `RECENT_EPISODES` are in use, and by one
    thread at a time: a Parquet file is not to be read by two."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._recent = lru_cache(RECENT_EPISODES)(super().read)
        self._turn = Lock()

    def read(self, record: Record) -> Episode:
        with self._turn:
            return self._recent(record)


def main(params: Params, round_name: str, prev: str) -> None:
    devices.join(params.hosts)
    settings = params.train_rnn
    before = params.rounds_until(prev)[::-1]
    shards = InMemory(LATENTS / prev)
    own = model_file.load(MODELS / prev / "rnn.eqx", RNN)
    simulators = model_file.load(MODELS / prev / "simulators.eqx", Ensemble)
    model_file.check_sizes(MODELS / prev / "simulators.eqx", simulators.stacked, own)
    shards.expect_latents(own.latent_size)
    inputs = [LATENTS / prev, MODELS / prev / "rnn.eqx", MODELS / prev / "simulators.eqx"]
    together = batcher(shards, shards.kept(validation=False))
    names = ["rnn", *(f"simulator_{i}" for i in range(simulators.count))]
    stage = f"train_rnn {round_name}"
    with scratch.folder(stage, settings.model_dump(), inputs) as unfinished:
        devices.share(unfinished)
        trainings = [
            partial(
                train,
                model,
                shards,
                together,
                settings,
                before,
                i,
                Checkpoints(unfinished / name),
                f"{stage} {name}",
            )
            for i, (name, model) in enumerate(zip(names, [own, *simulators.members], strict=True))
        ]
        trained, curves = zip(*side_by_side(trainings), strict=True)
        folder = MODELS / round_name
        model_file.save(folder / "rnn.eqx", trained[0])
        model_file.save(folder / "simulators.eqx", simulators.with_members(list(trained[1:])))
        report(dict(zip(names, curves, strict=True)), METRICS / round_name)


def side_by_side(trainings: list[Callable[[Event], Trained]]) -> list[Trained]:
    """What they come to: in a thread each, for one alone leaves cores idle; on several devices one after the
    other, for what these tell each other must not cross. They leave off at the event, which comes when one
    of them raises, or at Ctrl-C."""
    leave_off = Event()
    with ThreadPoolExecutor(len(trainings) if jax.device_count() == 1 else 1) as pool:
        running = [pool.submit(training, leave_off) for training in trainings]
        try:
            for one in as_completed(running):
                one.result()
        except BaseException:
            leave_off.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [one.result() for one in running]


def train(
    model: RNN,
    shards: Shards,
    together: Batcher,
    settings: TrainRNN,
    before: list[str],
    number: int,
    checkpoints: Checkpoints,
    label: str,
    leave_off: Event,
) -> tuple[RNN, list[dict[str, Any]]]:
    """The trained model and its curve; `number` makes its chance unlike that of the others. At the event
    its batches come to an end."""
    steps = settings.steps if before else settings.first_round_steps
    fit_key, check_key = jr.split(jr.fold_in(jr.fold_in(jr.key(settings.seed), len(before)), number))
    loss = partial(
        rnn.loss,
        reward_weight=settings.reward_weight,
        missed_weight=settings.missed_tile_weight,
        done_weight=settings.done_weight,
    )
    validation = validation_batches(shards, settings, before)
    check = eqx.filter_jit(partial(validate, loss=partial(loss, dropout=0.0)))

    def until_left_off(done: int) -> Iterator[Batch]:
        return takewhile(
            lambda _: not leave_off.is_set(), batches(shards, together, settings, before, number, steps, done)
        )

    return fit.train(
        model,
        rounded(partial(loss, dropout=settings.dropout), settings.precision),
        until_left_off,
        fit.adam(settings.learning_rate, steps, settings.gradient_clip),
        key=fit_key,
        steps=steps,
        check=lambda model: averaged(check, model, validation, check_key),
        check_every=settings.log_every,
        checkpoints=checkpoints,
        label=label,
    )


def rounded(loss: Callable[..., Any], precision: str) -> Callable[..., Any]:
    """The loss of the RNN with its weights rounded; what is learnt is added to those that are not."""
    return lambda model, *others: loss(rnn.in_precision(model, precision), *others)


def report(curves: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    """The last figures of each model, and all curves side by side, the agent's own without a prefix."""
    last = {
        name: {key: round(value, 4) for key, value in curve[-1].items() if key != "step"}
        for name, curve in curves.items()
    }
    files.write_json(folder / "train_rnn.json", last)
    own = curves.pop("rnn")
    for name, curve in curves.items():
        for row, other in zip(own, curve, strict=True):
            row |= {f"{name}_{key}": value for key, value in other.items() if key != "step"}
    files.write_csv(folder / "train_rnn.csv", own)


def batcher(shards: Shards, records: list[Record]) -> Batcher:
    """What puts some of these episodes side by side, all padded to the longest: on the device, where it has
    room for all of them."""
    read = partial(read_together, shards, longest(records))
    fits = resident.fits(len(records) * resident.nbytes(read(records[:1])))
    return picker(read, records) if fits else read


def read_together(shards: Shards, length: int, records: list[Record]) -> Batch:
    """The episodes, padded to this length."""
    return rnn.to_batch(stacked(shards, records, length))


def picker(read: Batcher, records: list[Record]) -> Batcher:
    """What does as `read` with some of these episodes, all of which it keeps on the device."""
    rows = {record: row for row, record in enumerate(records)}
    pieces = ((row, read([record])) for record, row in rows.items())
    every = resident.kept(pieces, len(records), len(records))
    return lambda some: resident.picked(every, np.array([rows[record] for record in some]))


def batches(
    shards: Shards,
    together: Batcher,
    settings: TrainRNN,
    before: list[str],
    number: int,
    steps: int,
    done: int,
) -> Iterator[Batch]:
    """Batches of whole training episodes, the newer the likelier, without the `done` first ones."""
    rng = np.random.default_rng([settings.seed, len(before), number])
    records = shards.kept(validation=False)
    for step in range(steps):
        drawn = draw(records, before, settings.newest_share, settings.batch_size, rng)
        if step >= done:
            yield together(drawn)


def validation_batches(shards: Shards, settings: TrainRNN, before: list[str]) -> list[Batch]:
    """The same episodes of unseen tracks at every check, half of them the newest round's."""
    records: list[Record] = shards.kept(validation=True)
    rng = np.random.default_rng(settings.seed)
    length = max(longest(records), DRIFT_WARM + max(DRIFT_STEPS))
    drawn = draw(records, before, 0.5, settings.validation_episodes, rng)
    starts = range(0, len(drawn), settings.batch_size)
    return [
        rnn.to_batch(stacked(shards, drawn[start : start + settings.batch_size], length)) for start in starts
    ]


def validate(model: RNN, batch: Batch, key, *, loss) -> dict[str, jax.Array]:
    """The loss's metrics and the open-loop drift of latents and rewards."""
    _, metrics = loss(model, batch, key)
    drift = open_loop_drift(model, batch, key, warm=DRIFT_WARM, steps=max(DRIFT_STEPS))
    for name, values in zip(("latent_drift", "reward_drift"), drift, strict=True):
        metrics |= {f"{name}_{steps}": values[steps - 1] for steps in DRIFT_STEPS}
    return metrics


def averaged(check, model: RNN, batches: list[Batch], key) -> dict[str, float]:
    """The means of `check` over the batches."""
    found = [check(model, batch, jr.fold_in(key, i)) for i, batch in enumerate(batches)]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}
