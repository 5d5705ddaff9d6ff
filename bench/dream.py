"""Steps per second of the dream as an environment, and of the real track: `uv run python -m bench.dream`.

A step is an action held for four frames. Whole episodes of gentle random driving are run one after the other;
resetting counts, compiling does not.
"""

import time
from collections.abc import Callable

import gymnasium
import numpy as np

from bench import process

ACTION_REPEAT = 4
SECONDS = 4.0  # per measurement
COUNTS = (1, 64, 1024)


def random_actions(rng: np.random.Generator, *batch: int) -> np.ndarray:
    """Gentle driving that stays on the playfield."""
    return rng.uniform([-0.4, 0.0, 0.0], [0.4, 0.3, 0.1], (*batch, 3)).astype(np.float32)


def rate(step: Callable[[], None], count: int) -> float:
    """Steps per second of a function that takes `count` steps at once."""
    for _ in range(3):
        step()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        step()
        calls += 1
    return count * calls / (time.perf_counter() - began)


def of_many(observation: str, count: int) -> float:
    """Steps per second of `count` dreams in one vector environment."""
    envs = gymnasium.make_vec("wm.envs:CarRacingDream-v0", num_envs=count, observation=observation)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)

    def step() -> None:
        envs.step(random_actions(rng, count))

    return rate(step, count)


def of_one(env: gymnasium.Env, frames: int = 1) -> float:
    """Steps per second of a single environment, each action held for `frames` of its own steps."""
    env.reset(seed=0)
    rng = np.random.default_rng(0)

    def step() -> None:
        action = random_actions(rng)
        for _ in range(frames):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
                return

    return rate(step, 1)


def main() -> None:
    print(f"{'steps per second':38} {'latent':>9} {'pixels':>9}")

    def row(name: str, rates: list[float]) -> None:
        print(f"{name:38}" + "".join(f" {steps:9,.0f}" for steps in rates), flush=True)

    views = ("latent", "pixels")
    row("one dream", [of_one(gymnasium.make("wm.envs:CarRacingDream-v0", observation=v)) for v in views])
    for count in COUNTS:
        row(f"vector environment of {count:,}", [of_many(view, count) for view in views])
    row("RealCarRacing", [of_one(gymnasium.make("wm.envs:RealCarRacing-v0", observation=v)) for v in views])
    plain = of_one(gymnasium.make("CarRacing-v3"), ACTION_REPEAT)
    print(f"{f'CarRacing-v3, {ACTION_REPEAT} frames per step':38} {'':9} {plain:9,.0f}")


if __name__ == "__main__":
    process.set_up()
    main()
