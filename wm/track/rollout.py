"""Episodes on the real track, as a generator."""

from collections.abc import Generator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from wm.data.episode import Episode, Record
from wm.track.real_track import Action, Pixels, RealTrack
from wm.track.renderer import shrink


class Sight(NamedTuple):
    """What a driver sees before an action: the whole state, and the frame that the models see."""

    pixels: Pixels
    frame: UInt8[np.ndarray, "64 64 3"]


Rollout = Generator[Sight, np.ndarray, Episode]


@runtime_checkable
class Driver(Protocol):
    """Maps frames to actions, float32. A driver may keep state, so every episode needs a new one."""

    def act(self, pixels: Pixels) -> Action: ...


def rollout(track: RealTrack, seed: int, source: str) -> Rollout:
    """One episode on the track of `seed`: yields what is seen, receives actions, returns the Episode."""
    observation = track.reset(seed)
    warm_up_reward = observation.reward
    frames, actions, rewards, missed = [], [], [], []
    while not observation.over:
        sight = Sight(observation.pixels, shrink(observation.pixels))
        action = yield sight
        frames.append(sight.frame)
        actions.append(action)
        observation = track.step(action)
        rewards.append(observation.reward)
        missed.append(observation.missed)
    ends = np.zeros(len(rewards), bool)
    ends[-1] = True
    record = Record(
        episode=0,
        seed=seed,
        source=source,
        length=len(rewards),
        score=round(warm_up_reward + sum(rewards), 4),
        warm_up_reward=round(warm_up_reward, 4),
        lap_finished=observation.lap_finished,
    )
    return Episode(
        record=record,
        observations={"frame": np.stack(frames)},
        actions=np.stack(actions).astype(np.float32),
        rewards=np.array(rewards, np.float32),
        missed=np.array(missed, np.int16),
        terminated=ends & observation.failed,
        truncated=ends & (not observation.failed),
    )


def drive_alone(track: RealTrack, driver: Driver, seed: int, source: str) -> Episode:
    """One episode of one driver."""
    running = rollout(track, seed, source)
    try:
        sight = next(running)
        while True:
            sight = running.send(driver.act(sight.pixels))
    except StopIteration as end:
        return end.value
