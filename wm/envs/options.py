"""The options of the dream, and the dreams that follow from them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypedDict, TypeGuard

import numpy as np
from jaxtyping import Int

from wm.agent.start_frames import start_frames
from wm.dream.playing import Dreams
from wm.dream.starts import StartFrames
from wm.envs.view import View
from wm.errors import BadInput, unknown

COMMON = ("models", "observation", "render_mode")  # options of all environments


class DreamOptions(TypedDict, total=False):
    """Options of CarRacingDream and CarRacingDreams. None is the same as leaving an option out."""

    temperature: float | None
    """above 0; by default that of the dreams in which the agent was evolved"""
    horizon_steps: int | None
    """steps after which an episode is truncated; by default the length of a real episode"""
    start_seeds: Sequence[int] | None
    """real tracks on whose first frames episodes start; by default the frames in the folder's starts.npz"""


def check_options(environment: str, options: Iterable[str], own: Iterable[str] = ()) -> None:
    """Raises BadInput for an option that is neither one of all environments nor one of `own`."""
    known = [*COMMON, *own]
    for name in options:
        if name not in known:
            raise BadInput(unknown(f"{environment}: option", name, known))


def check_reset(environment: str, options: dict[str, Any] | None, *known: str) -> dict[str, Any]:
    """The options of a reset. Raises ValueError for one that is not `known`."""
    otherwise = "" if known else "The seed chooses the track."
    for name in options or {}:
        if name not in known:
            raise ValueError(unknown(f"{environment}.reset: option", name, known, otherwise))
    return options or {}


def start_indices(start: Any, count: int, dreams: Dreams) -> Int[np.ndarray, " batch"] | None:
    """The start frames of `count` dreams, as chosen by reset's option `start`. Raises ValueError."""
    if start is None:
        return None
    frames, indices = len(dreams.starts.mu), np.asarray(start)
    whole = indices.dtype.kind in "iu" and indices.shape in ((), (count,))
    if not whole or not ((indices >= 0) & (indices < frames)).all():
        expected = f"expected a whole number of 0 or more and less than {frames}"
        several = f", or {count}, one per dream" if count > 1 else ""
        raise ValueError(f"CarRacingDream.reset: start: found {start!r}, {expected}{several}")
    return np.broadcast_to(indices, count)


def limited(dreams: Dreams, max_episode_steps: int | None) -> Dreams:
    """Dreams truncated after that many steps at the latest; None and -1 mean no limit. Raises BadInput."""
    if max_episode_steps is None or max_episode_steps == -1:
        return dreams
    check_at_least_one("max_episode_steps", max_episode_steps)
    return replace(dreams, horizon_steps=min(dreams.horizon_steps, max_episode_steps))


def playable(
    view: View,
    temperature: float | None = None,
    horizon_steps: int | None = None,
    start_seeds: Sequence[int] | None = None,
) -> Dreams:
    """The agent's dream with DreamOptions. Raises BadInput."""
    dream = view.folder.dream(view.agent)
    if temperature is not None:
        if not (isinstance(temperature, int | float) and 0 < temperature < math.inf):
            raise BadInput(f"CarRacingDream: temperature: found {temperature!r}, expected a number above 0")
        dream = replace(dream, rules=dream.rules.replace(temperature=float(temperature)))
    steps = dream.max_steps if horizon_steps is None else horizon_steps
    check_at_least_one("horizon_steps", steps)
    return Dreams(dream, starts(view, start_seeds), steps)


def starts(view: View, seeds: Sequence[int] | None) -> StartFrames:
    """The start frames of the real tracks of `seeds`, or those published with the agent. Raises BadInput."""
    if seeds is None:
        return view.folder.starts(view.agent.rnn.latent_size)
    if not isinstance(seeds, Sequence | np.ndarray) or not len(seeds) or not all(map(is_whole, seeds)):
        found = f"CarRacingDream: start_seeds: found {seeds!r}"
        raise BadInput(f"{found}, expected at least one seed, each a whole number of 0 or more")
    return start_frames(view.agent, seeds, view.timing)


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number of 0 or more."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)


def check_at_least_one(name: str, value: Any) -> None:
    """Raises BadInput unless a value is a whole number of 1 or more."""
    if not is_whole(value) or value < 1:
        raise BadInput(f"CarRacingDream: {name}: found {value!r}, expected a whole number of 1 or more")
