"""Trains PPO (Schulman et al. 2017) in dreams alone, then drives the real track.

`uv run --extra examples python examples/ppo_in_dream.py` takes about two minutes on two cores. It prints the
policy's scores before and after training, in dreams and on real tracks: mean +- standard deviation over
episodes. The policy's input is that of the paper's controller: the latent and the RNN's hidden state.
With `--save ppo.zip` it writes the policy; `--load ppo.zip --episodes N` only scores it.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from examples.sb3 import GymnasiumVecEnv
from wm.errors import BadInput
from wm.runtime import run
from wm.runtime.progress import progress

STEPS_PER_UPDATE = 64  # per environment
REAL_SEED = 910000  # first real track; nothing was trained on these tracks

Act = Callable[[np.ndarray], np.ndarray]


def main(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # small networks gain nothing from more threads and slow down on busy cores
    if arguments.load:
        report("loaded", load(arguments.load), arguments)
        return
    driver = new_driver(arguments)
    report("before", driver, arguments)
    learn(driver, arguments.steps)
    if arguments.save:
        driver.save(arguments.save)
    report("after", driver, arguments)


def new_driver(arguments: argparse.Namespace) -> PPO:
    """An untrained policy, with the dreams in which it will learn."""
    dreams = gymnasium.make_vec("wm.envs:CarRacingDream-v0", num_envs=arguments.envs)
    venv = VecNormalize(GymnasiumVecEnv(dreams), norm_obs=False, gamma=0.99)
    return PPO(
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


def load(path: Path) -> PPO:
    """The policy that `--save` wrote. Raises BadInput."""
    try:
        return PPO.load(path, device="cpu")
    except FileNotFoundError:
        raise BadInput(f"{path}: not found. Train a policy with `--save {path}`.") from None
    except (OSError, ValueError, LookupError, AssertionError) as error:
        raise BadInput(f"{path}: {error}, expected a policy written by `--save`.") from None


def learn(driver: PPO, steps: int) -> None:
    """Trains for at least `steps` dreamt steps and prints the mean return of recent dreams ten times."""
    steps_per_update = driver.n_steps * driver.n_envs
    updates = -(-steps // steps_per_update)
    for done in progress(range(1, updates + 1), "training", updates):
        driver.learn(steps_per_update, reset_num_timesteps=False)
        if done % max(1, updates // 10) == 0 and driver.ep_info_buffer:
            recent = np.mean([episode["r"] for episode in driver.ep_info_buffer])
            print(f"{done * steps_per_update:8,} dreamt steps: recent return {recent:6.1f}", flush=True)


def report(when: str, driver: PPO, arguments: argparse.Namespace) -> None:
    """Prints the policy's scores in dreams and on real tracks."""

    def act(observation: np.ndarray) -> np.ndarray:
        return driver.predict(observation, deterministic=True)[0]

    dreamt = dream_scores(act, arguments.episodes, arguments.seed + 100000)
    real = real_scores(act, arguments.episodes)
    print(
        f"{when + ':':8} dream {dreamt.mean():6.1f} +- {dreamt.std():5.1f},"
        f" real {real.mean():6.1f} +- {real.std():5.1f} (n {arguments.episodes})",
        flush=True,
    )


def dream_scores(act: Act, episodes: int, seed: int) -> np.ndarray:
    """Scores of whole dreamt episodes."""
    envs = gymnasium.make_vec("wm.envs:CarRacingDream-v0", num_envs=episodes)
    observations, _ = envs.reset(seed=seed)
    scores, running = np.zeros(episodes), np.ones(episodes, bool)
    while running.any():
        observations, _, terminations, truncations, info = envs.step(act(observations))
        scores = np.where(running, info["score"], scores)
        running &= ~(terminations | truncations)
    return scores


def real_scores(act: Act, episodes: int) -> np.ndarray:
    """Scores on real tracks."""
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
    parser = argparse.ArgumentParser(description="Trains PPO in dreams alone.")
    parser.add_argument("--steps", type=int, default=1_000_000, help="dreamt steps of training")
    parser.add_argument("--envs", type=int, default=64, help="parallel dreams")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=20, help="episodes per reported score")
    parser.add_argument("--save", type=Path, help="file for the trained policy, such as ppo.zip")
    parser.add_argument("--load", type=Path, help="file of a saved policy, which is scored and not trained")
    return parser.parse_args()


if __name__ == "__main__":
    run.run(main, arguments())
