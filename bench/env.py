"""Real frames a second, Gymnasium and `wm.car_racing` in turn: `uv run python -m bench.env`.

All drive whole episodes with random actions, each held for four frames, on the same tracks and the
same core; the time to make a track counts.
"""

import os
import time
from collections.abc import Callable

import gymnasium
import numpy as np

from wm.car_racing import CarRacing, RealTrack

ACTION_REPEAT = 4
FRAMES = 1000
ROUNDS = 3


def random_actions(seed: int) -> np.ndarray:
    """Gentle driving that stays on the playfield."""
    rng = np.random.default_rng(seed)
    return rng.uniform([-0.4, 0.0, 0.0], [0.4, 0.3, 0.1], (FRAMES, 3)).astype(np.float32)


def drive_gymnasium(env: gymnasium.Env, seed: int) -> int:
    env.reset(seed=seed)
    actions = random_actions(seed)
    for frame in range(FRAMES):
        _, _, terminated, _, _ = env.step(actions[frame // ACTION_REPEAT])
        if terminated:
            return frame + 1
    return FRAMES


def drive_ours(track: RealTrack, seed: int) -> int:
    observation = track.reset(seed)
    for action in random_actions(seed):
        if observation.over:
            break
        observation = track.step(action)
    return observation.frames


def main() -> None:
    if hasattr(os, "sched_setaffinity"):  # the same core for all
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    gymnasium_env = gymnasium.make("CarRacing-v3")
    every_frame = gymnasium.wrappers.TimeLimit(CarRacing(), FRAMES)
    last_frame = RealTrack(action_repeat=ACTION_REPEAT, warm_up_frames=50)
    drives: dict[str, Callable[[int], int]] = {
        "Gymnasium": lambda seed: drive_gymnasium(gymnasium_env, seed),
        "ours, every frame drawn": lambda seed: drive_gymnasium(every_frame, seed),
        f"ours, every {ACTION_REPEAT}th frame drawn": lambda seed: drive_ours(last_frame, seed),
    }
    frames = dict.fromkeys(drives, 0)
    seconds = dict.fromkeys(drives, 0.0)
    for seed in range(ROUNDS):
        for name, drive in drives.items():
            start = time.perf_counter()
            frames[name] += drive(seed)
            seconds[name] += time.perf_counter() - start
    base = frames["Gymnasium"] / seconds["Gymnasium"]
    for name in drives:
        rate = frames[name] / seconds[name]
        print(f"{name:28} {rate:7.0f} frames/s  {rate / base:5.1f} x")


if __name__ == "__main__":
    main()
