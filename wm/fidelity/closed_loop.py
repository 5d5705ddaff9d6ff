"""Closed-loop drift: how dream and reality differ under the same agent, by dreamt time.

Probes read from z what the road and the car are like, in both worlds alike; a two-sample test asks whether
anything at all tells the worlds apart. Both are fitted on every second track and used on the others, and the
other way round, so that no track is judged by what was fitted on it.
"""

from typing import Any, NamedTuple

import jax.random as jr
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from wm.dream.dynamics import Dream
from wm.fidelity import continuations, probes, two_sample
from wm.fidelity.continuations import Continuation, LabelledDrives
from wm.fidelity.probes import Probe
from wm.models.controller import Controller
from wm.spec import Timing
from wm.track.labels import Labels

SEQUENCE = 5  # consecutive latents that the two-sample test reads
RESAMPLES = 1000  # of the tracks, for 95 % intervals


class CrossFitted(NamedTuple):
    """Probes for the tracks 0, 2, 4 and so on and for the others, each fitted on the tracks of the other."""

    even: Probe
    odd: Probe

    def __call__(
        self, x: Float[np.ndarray, "track *batch feature"]
    ) -> Float[np.ndarray, "track *batch label"]:
        return interleaved(self.even(x[::2]), self.odd(x[1::2]))


def cross_fitted(
    x: Float[np.ndarray, "track time feature"],
    label: Float[np.ndarray, "track time label"],
    mask: Bool[np.ndarray, "track time"],
) -> CrossFitted:
    """The probes that read the labels of these drives from features."""
    odd, even = (probes.fit(x[i::2][mask[i::2]], label[i::2][mask[i::2]]) for i in (0, 1))
    return CrossFitted(even, odd)


class Compared(NamedTuple):
    """How dream and reality go on from the same moments, the last latents `past` before that, the probes that
    read both worlds, and the probes' R2 on the drives."""

    dream: Continuation
    real: Continuation
    past: Float[np.ndarray, "track start step latent"]
    probe: CrossFitted
    explained: dict[str, float]


def compare(
    drives: LabelledDrives, dream: Dream, controller: Controller, steps: int, key: PRNGKeyArray
) -> Compared:
    """The comparison over `steps` steps from moments of these drives, which `controller` drove."""
    z_key, dream_key = jr.split(key)
    z, mask = drives.latents(dream.rules, z_key), drives.mask
    times = continuations.start_times(mask.sum(axis=1), steps)
    x = probes.recent(z)
    probe = cross_fitted(x, drives.label, mask)
    explained = probes.explained(probe(x)[mask], drives.label[mask]).round(4).tolist()
    return Compared(
        continuations.dreamt(dream, controller, drives.batch, times, steps, dream_key),
        continuations.real(drives, z, times, steps),
        continuations.before(z, times, max(probes.LAGS)),
        probe,
        dict(zip(Labels._fields, explained, strict=True)),
    )


def interleaved(
    even: Float[np.ndarray, "half *batch"], odd: Float[np.ndarray, "other_half *batch"]
) -> Float[np.ndarray, "track *batch"]:
    """The values of all tracks from those of the two halves."""
    joined = np.empty((len(even) + len(odd), *even.shape[1:]))
    joined[::2], joined[1::2] = even, odd
    return joined


def rows(compared: Compared, *, window: int, timing: Timing, seed: int) -> list[dict[str, Any]]:
    """The rows of closed_loop.csv: for each `window` steps of dreamt time and each quantity, the mean over
    the tracks in each series and its 95 % interval, by resampling the tracks.

    The series are `dream` and `real`; `difference`, dream minus real; and `game`, the real value where the
    game states it and a probe reads it. The quantity `auc` is that of the two-sample test, its series are the
    features. `seconds` is the middle of the window.
    """
    values, table = series(compared), []
    weights = resampled(len(compared.dream.z), seed)
    for start in range(0, compared.dream.reward.shape[2] - window + 1, window):
        part = slice(start, start + window)
        seconds = (start + window / 2) / timing.steps_per_second
        moment = {"steps": start + window, "seconds": round(seconds, 4)}
        for (quantity, name), value in values.items():
            interval = mean_interval(value[:, :, part].mean(axis=(1, 2)), weights)
            table.append(moment | {"quantity": quantity, "series": name} | interval)
        worlds = [sequences(world.z[:, :, part]) for world in (compared.dream, compared.real)]
        for name, feature in two_sample.FEATURES.items():
            auc = auc_interval(*map(feature, worlds), seed=seed)
            table.append(moment | {"quantity": "auc", "series": name} | auc)
    return table


def series(compared: Compared) -> dict[tuple[str, str], Float[np.ndarray, "track start step"]]:
    """The values of the series, by quantity and name of the series."""
    dream, real = quantities(compared, compared.dream), quantities(compared, compared.real)
    game = {} if compared.real.label is None else by_label(compared.real.label)
    named = {"dream": dream, "real": real, "difference": {name: dream[name] - real[name] for name in dream}}
    named["game"] = game
    return {
        (quantity, name): named[name][quantity]
        for quantity in dream
        for name in named
        if quantity in named[name]
    }


def quantities(compared: Compared, world: Continuation) -> dict[str, Float[np.ndarray, "track start step"]]:
    """What is compared, by name: what the probes read from latents, the reward in points, missed tiles."""
    x = probes.recent(np.concatenate([compared.past, world.z], axis=2))[:, :, compared.past.shape[2] :]
    return by_label(compared.probe(x)) | {"reward": world.reward, "missed": world.missed}


def by_label(labels: Float[np.ndarray, "*batch label"]) -> dict[str, Float[np.ndarray, "*batch"]]:
    """The labels by name."""
    return dict(zip(Labels._fields, np.moveaxis(labels, -1, 0), strict=True))


def mean_interval(
    by_track: Float[np.ndarray, " track"], weights: Float[np.ndarray, "draw track"]
) -> dict[str, float]:
    """The mean over the tracks and its 95 % interval, from resampled tracks."""
    return _interval(float(by_track.mean()), weights @ by_track)


def auc_interval(
    dreamt: Float[np.ndarray, "track sequence feature"],
    real: Float[np.ndarray, "track sequence feature"],
    *,
    seed: int,
) -> dict[str, float]:
    """The AUC of the two-sample test on tracks that the classifier was not fitted on, a mean over the two
    halves, and its 95 % interval."""
    worlds, halves = (dreamt, real), []
    for i in (0, 1):
        weight = two_sample.fit(*(world[1 - i :: 2].reshape(-1, world.shape[-1]) for world in worlds))
        halves.append(two_sample.wins(*(world[i::2] @ weight for world in worlds)))
    drawn = [resampled(len(wins), seed + i) for i, wins in enumerate(halves)]
    draws = [np.einsum("di,ij,dj->d", w, wins, w) for w, wins in zip(drawn, halves, strict=True)]
    return _interval(float(np.mean([wins.mean() for wins in halves])), np.mean(draws, axis=0))


def sequences(
    z: Float[np.ndarray, "track start step latent"],
) -> Float[np.ndarray, "track sequence time latent"]:
    """The sequences of `SEQUENCE` latents that follow one another within the steps; of all steps if they are
    fewer."""
    length = min(SEQUENCE, z.shape[2])
    whole = z[:, :, : z.shape[2] // length * length]
    return whole.reshape(len(z), -1, length, z.shape[-1])


def resampled(tracks: int, seed: int) -> Float[np.ndarray, "draw track"]:
    """The weights of the tracks in samples with replacement; each row sums to 1."""
    return np.random.default_rng(seed).multinomial(tracks, np.full(tracks, 1 / tracks), RESAMPLES) / tracks


def _interval(mean: float, draws: Float[np.ndarray, " draw"]) -> dict[str, float]:
    low, high = np.percentile(draws, [2.5, 97.5])
    return {name: round(float(v), 5) for name, v in {"mean": mean, "low": low, "high": high}.items()}
