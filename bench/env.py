"""Real frames per second of Gymnasium, EnvPool and `wm.track.renderer`: `uv run python -m bench.env`.

All drive whole episodes with random actions, each held for four frames, on the same tracks and one core; the
time to make a track counts. EnvPool, which has other tracks, takes part where it is installed. The limit
is physics without drawing.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

from bench import process
from bench.timing import Row, show
from wm.track.real_track import RealTrack
from wm.track.renderer import CarRacing

ACTION_REPEAT = 4
FRAMES = 1000
ROUNDS = 3
GYMNASIUM, ENVPOOL, PHYSICS = "Gymnasium", "EnvPool", "physics alone"
OURS = EVERY_FRAME, LAST_FRAME = "track, all frames drawn", f"track, every {ACTION_REPEAT}th drawn"


def random_actions(seed: int) -> np.ndarray:
    """Random actions gentle enough to stay on the playfield."""
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


class Physics(CarRacing):
    """Physics without drawing."""

    def draw(self) -> np.ndarray:
        return NOTHING


NOTHING = np.zeros((96, 96, 3), np.uint8)


def drive_envpool(pool: Any, seed: int) -> int:
    """One episode on EnvPool's track, with one thread and one environment, as the others have one core."""
    pool.reset()
    actions = random_actions(seed)[:, None]
    for frame in range(FRAMES):
        _, _, terminated, truncated, _ = pool.step(actions[frame // ACTION_REPEAT])
        if terminated[0] or truncated[0]:
            return frame + 1
    return FRAMES


def measured() -> dict[str, float]:
    """Frames per second of each."""
    gymnasium_env = gymnasium.make("CarRacing-v3")
    every_frame = gymnasium.wrappers.TimeLimit(CarRacing(), FRAMES)
    physics = gymnasium.wrappers.TimeLimit(Physics(), FRAMES)
    last_frame = RealTrack(action_repeat=ACTION_REPEAT, warm_up_frames=50)
    drives: dict[str, Callable[[int], int]] = {
        GYMNASIUM: lambda seed: drive_gymnasium(gymnasium_env, seed),
        EVERY_FRAME: lambda seed: drive_gymnasium(every_frame, seed),
        LAST_FRAME: lambda seed: drive_ours(last_frame, seed),
        PHYSICS: lambda seed: drive_gymnasium(physics, seed),
    }
    if importlib.util.find_spec("envpool"):
        import envpool  # pyright: ignore[reportMissingImports]

        pool = envpool.make_gymnasium("CarRacing-v3", num_envs=1, num_threads=1)
        drives[ENVPOOL] = lambda seed: drive_envpool(pool, seed)
    frames = dict.fromkeys(drives, 0)
    seconds = dict.fromkeys(drives, 0.0)
    for seed in range(ROUNDS):
        for name, drive in drives.items():
            start = time.perf_counter()
            frames[name] += drive(seed)
            seconds[name] += time.perf_counter() - start
    return {name: frames[name] / seconds[name] for name in drives}


def rows() -> list[Row]:
    """Each way of drawing beside Gymnasium and, where installed, EnvPool."""
    with one_core():
        rates = measured()
    limit = (PHYSICS, rates[PHYSICS])
    lines = [Row(name, "frames", rates[name], GYMNASIUM, rates[GYMNASIUM], *limit) for name in OURS]
    if ENVPOOL in rates:
        lines.append(Row(LAST_FRAME, "frames", rates[LAST_FRAME], ENVPOOL, rates[ENVPOOL], *limit))
    return lines


@contextmanager
def one_core() -> Iterator[None]:
    """Runs the block on one core, where the system allows it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    process.set_up()
    show(rows())
