"""PPO (Schulman et al. 2017) learns to drive in the dream alone, and then drives the real track.

`uv run --extra examples python examples/ppo_in_dream.py` takes a minute or two on two cores. It prints what
the driver scores before and after, in dreams and on real tracks, each the mean +- standard deviation over
episodes. The driver sees what the paper's controller sees, the latent and the RNN's memory.
"""

import argparse
from collections.abc import Callable

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from examples.sb3 import GymnasiumVecEnv
from wm.cli import at_least
from wm.runtime import run
from wm.runtime.progress import progress

STEPS_PER_UPDATE = 64  # in each environment
REAL_SEED = 910000  # of the first real track driven; on none of them was anything trained

Act = Callable[[np.ndarray], np.ndarray]


def main(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # networks this small gain nothing by more, and lose much where cores are busy
    dreams = gymnasium.make_vec("wm.envs:CarRacingDream-v0", num_envs=arguments.envs)
    venv = VecNormalize(GymnasiumVecEnv(dreams), norm_obs=False, gamma=0.99)
    driver = PPO(
        "MlpPolicy",
        venv,
        n_steps=STEPS_PER_UPDATE,
        batch_size=STEPS_PER_UPDATE * arguments.envs // 8,
        n_epochs=6,
        gamma=0.99,
        learning_rate=3e-4,
        policy_kwargs={"net_arch": [64, 64], "log_std_init": -1.0},
        seed=arguments.seed,
        device="cpu",
    )
    report("before", driver, arguments)
    learn(driver, arguments.steps)
    report("after", driver, arguments)


def learn(driver: PPO, steps: int) -> None:
    """At least `steps` steps of dreams; says now and then what the driver scores in them."""
    a_round = driver.n_steps * driver.n_envs
    rounds = -(-steps // a_round)
    for done in progress(range(1, rounds + 1), "learning", rounds):
        driver.learn(a_round, reset_num_timesteps=False)
        if done % max(1, rounds // 10) == 0 and driver.ep_info_buffer:
            lately = np.mean([episode["r"] for episode in driver.ep_info_buffer])
            print(f"{done * a_round:8,} dreamt steps: return {lately:6.1f} lately", flush=True)


def report(when: str, driver: PPO, arguments: argparse.Namespace) -> None:
    """A line: the driver's scores in dreams and in reality."""

    def act(observation: np.ndarray) -> np.ndarray:
        return driver.predict(observation, deterministic=True)[0]

    dreamt = in_dreams(act, arguments.episodes, arguments.seed + 100000)
    real = in_reality(act, arguments.episodes)
    print(
        f"{when + ':':8} dream {dreamt.mean():6.1f} +- {dreamt.std():5.1f},"
        f" real {real.mean():6.1f} +- {real.std():5.1f} (n {arguments.episodes})",
        flush=True,
    )


def in_dreams(act: Act, episodes: int, seed: int) -> np.ndarray:
    """The scores of whole dreamt episodes."""
    envs = gymnasium.make_vec("wm.envs:CarRacingDream-v0", num_envs=episodes)
    observations, _ = envs.reset(seed=seed)
    scores, running = np.zeros(episodes), np.ones(episodes, bool)
    while running.any():
        observations, _, terminations, truncations, info = envs.step(act(observations))
        scores = np.where(running, info["score"], scores)
        running &= ~(terminations | truncations)
    return scores


def in_reality(act: Act, episodes: int) -> np.ndarray:
    """The scores on real tracks."""
    env = gymnasium.make("wm.envs:RealCarRacing-v0")
    scores = np.zeros(episodes)
    for i in progress(range(episodes), "driving", episodes):
        observation, info = env.reset(seed=REAL_SEED + i)
        over = False
        while not over:
            observation, _, terminated, truncated, info = env.step(act(observation))
            over = terminated or truncated
        scores[i] = info["score"]
    return scores


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="PPO learns to drive in the dream alone.")
    parser.add_argument("--steps", type=at_least(1), default=1_000_000, help="dreamt steps to learn from")
    parser.add_argument("--envs", type=at_least(1), default=64, help="dreams side by side")
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--episodes", type=at_least(1), default=20, help="of each report, in either world")
    return parser.parse_args()


if __name__ == "__main__":
    run.run(main, arguments())
