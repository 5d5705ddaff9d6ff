"""Memory that profiles need on a device, in MB, as CSV: `uv run python -m bench.footprint [PROFILE ...]`.

Training data: all frames and latents if every drive had its full length. Programs: arguments, results and
temporary values by XLA's analysis of what the stages compile, on the device that JAX uses. A GPU's temporary
values may differ from a CPU's. Nothing is run. Takes a minute per profile.
"""

import csv
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from bench import process
from wm.dream.dynamics import Rules
from wm.dream.starts import Starts
from wm.models import fit, rnn, vae
from wm.models.controller import Controller
from wm.models.rnn import RNN, Batch, Memory
from wm.models.vae import VAE
from wm.params import profiles
from wm.params.check import check
from wm.params.model import Params
from wm.runtime import memory
from wm.search.fitness import Objective, Problem, SearchDream, dream_program
from wm.search.payoff import Payoff
from wm.search.space import ControllerSpace
from wm.spec import ACTION_SIZE, FRAME_BYTES, FRAME_SHAPE

PROFILES = ("default", "best", "paper")
STEP_BYTES = 4 * ACTION_SIZE + 4 + 4 + 1 + 1  # of an action, its reward, missed tiles, failure and mask


def main() -> None:
    names = sys.argv[1:] or PROFILES
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["megabytes", *names])
    for rows in zip(*(sizes(check(profiles.content(name))) for name in names), strict=True):
        writer.writerow([rows[0][0], *(round(size / 1e6) for _, size in rows)])
        sys.stdout.flush()


def sizes(params: Params) -> Iterator[tuple[str, int]]:
    """Bytes of the data, and of the largest program of each stage."""
    frames, latents = data_bytes(params)
    yield "train_vae, all frames", frames
    yield "train_rnn, latents of the last round", latents
    yield "train_vae, one step", training_bytes(vae.loss, *vae_step(params))
    yield "encode, one drive", memory.needs(vae.encode, vae_step(params)[0], frames_of(whole_drive(params)))
    loss = rnn.with_rounded_weights(rnn_loss(params), params.train_rnn.precision)
    yield "train_rnn, one step of one RNN", training_bytes(loss, *rnn_step(params))
    yield "evolve, one generation", generation_bytes(params)


def data_bytes(params: Params) -> tuple[int, int]:
    """Bytes of V's frames and of the last round's latents."""
    scripted = sum(driver.episodes for driver in params.collect.values())
    explored = (len(params.rounds) - 1) * params.explore.episodes
    latent = 2 * 4 * params.train_vae.latent_size + STEP_BYTES
    frames = training_steps(params, scripted) * FRAME_BYTES
    return frames, training_steps(params, scripted + explored) * latent


def training_steps(params: Params, drives: int) -> int:
    """Steps of that many drives on training tracks, mirror images included."""
    copies = 2 if params.process.mirror else 1
    return round(copies * (1 - params.process.validation_share) * drives * whole_drive(params))


def whole_drive(params: Params) -> int:
    """Steps of a drive that nothing ends early."""
    return params.environment.timing.max_steps


def frames_of(count: int) -> np.ndarray:
    """That many frames. Zeros that nothing reads take no memory."""
    return np.zeros((count, *FRAME_SHAPE), np.uint8)


def vae_step(params: Params) -> tuple[VAE, Any]:
    """V and a batch."""
    section = params.train_vae
    model = VAE(latent_size=section.latent_size, widths=section.widths, key=jr.key(0))
    return model, frames_of(section.batch_size)


def rnn_loss(params: Params) -> Callable[..., Any]:
    """M's loss with the weights of the profile."""
    section = params.train_rnn
    weights = rnn.LossWeights(section.reward_weight, section.missed_tile_weight, section.done_weight)
    return partial(rnn.loss, weights=weights, dropout=section.dropout)


def network(params: Params) -> RNN:
    """One RNN."""
    section = params.initialise
    return RNN(
        latent_size=params.train_vae.latent_size,
        hidden_size=section.hidden_size,
        mixtures=section.mixtures,
        joint=section.joint_mixture,
        key=jr.key(0),
    )


def rnn_step(params: Params) -> tuple[RNN, Any]:
    """One RNN and a batch of windows."""
    latent = params.train_vae.latent_size
    shape = (params.train_rnn.batch_size, params.train_rnn.window_steps)

    def column(kind: Any, *sizes: int) -> Any:
        return np.zeros((*shape, *sizes), kind)

    columns = {
        "mu": column(np.float32, latent),
        "logvar": column(np.float32, latent),
        "action": column(np.float32, ACTION_SIZE),
        "reward": column(np.float32),
        "missed": column(np.int32),
        "done": column(bool),
        "mask": column(bool),
    }
    return network(params), Batch(**columns)


def training_bytes(loss: Callable[..., Any], model: Any, batch: Any) -> int:
    """Bytes of a training step, the optimiser's state included."""
    optimiser = fit.adam(1e-3, 1000, 1.0)
    update = fit.update_step(loss, optimiser).__wrapped__
    return memory.needs(update, (batch, jr.key(0)), model, fit.start(optimiser, model))


def generation_bytes(params: Params) -> int:
    """Bytes of the dreams of a generation, start states included; the terminal value is left out."""
    section, repeat = params.evolve, params.environment.action_repeat
    simulator = watcher = rnn.in_precision(network(params), section.precision)
    features = simulator.latent_size + simulator.hidden_size
    objective = Objective(
        payoff=Payoff(section.fastest_lap_steps, section.missed_tile_cost.refine, repeat),
        rollouts=section.rollouts,
        horizon_steps=section.horizon_steps,
        cvar_level=section.cvar_level,
        dropout=section.dropout,
        precision=section.precision,
    )
    rules = Rules(temperature=1.0, stuck_steps=section.stuck_steps, action_repeat=repeat)
    z = np.zeros((section.start_states, simulator.latent_size), np.float32)
    hidden = np.zeros((section.start_states, simulator.hidden_size), np.float32)
    starts = Starts(z, z, Memory(hidden, hidden), Memory(hidden, hidden))  # pyright: ignore
    dream = SearchDream(simulator, starts, lambda hidden: hidden[..., 0])  # pyright: ignore
    dreams = [dream] * (1 + params.initialise.simulators)
    count = section.principal_components
    space = ControllerSpace(Controller(features=features), jnp.zeros((count, features)), jnp.zeros(features))
    population = max(section.search.population, section.refine.population)
    vectors = np.zeros((population, ACTION_SIZE * (count + 1)), np.float32)
    problem = Problem(dreams, watcher, rules, objective)
    return memory.needs(dream_program(problem).__wrapped__, dreams, watcher, space, vectors, jr.key(0))


if __name__ == "__main__":
    process.set_up()
    main()
