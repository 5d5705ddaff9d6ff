"""Episodes on the real track, as a generator; of one driver, or of many side by side."""

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from wm.data.episode import Episode, Record
from wm.track.real_track import Action, Observation, Pixels, RealTrack
from wm.track.renderer import shrink

Rollout = Generator[Observation, np.ndarray, Episode]


@runtime_checkable
class Driver(Protocol):
    """Maps frames to actions, float32. A driver may keep state, so every episode needs a new one."""

    def act(self, pixels: Pixels) -> Action: ...


def rollout(track: RealTrack, seed: int, source: str) -> Rollout:
    """One episode on the track of `seed`: yields observations, receives actions, returns the Episode."""
    observation = track.reset(seed)
    warm_up_reward = observation.reward
    frames, actions, rewards, missed = [], [], [], []
    while not observation.over:
        action = yield observation
        frames.append(shrink(observation.pixels))
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
    return drive_together([track], lambda pixels: [driver.act(pixels[0])], [seed], source)[0]


def drive_together(
    tracks: Sequence[RealTrack],
    act: Callable[[list[np.ndarray]], Sequence[np.ndarray]],
    seeds: Sequence[int],
    source: str,
) -> list[Episode]:
    """One episode per track, all at once; `act` maps the tracks' 96 x 96 pixels to their actions.

    A track whose episode is over keeps showing its last frame until all are over, so that the batch passed to
    `act` has a constant size.
    """
    rollouts = [rollout(track, seed, source) for track, seed in zip(tracks, seeds, strict=True)]
    pixels = [next(running).pixels for running in rollouts]
    episodes: dict[int, Episode] = {}
    while len(episodes) < len(rollouts):
        for i, action in enumerate(act(pixels)):
            if i in episodes:
                continue
            try:
                pixels[i] = rollouts[i].send(action).pixels
            except StopIteration as end:
                episodes[i] = end.value
    return [episodes[i] for i in range(len(rollouts))]
