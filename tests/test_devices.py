"""One device or four: the same training and the same evolution, to rounding."""

import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.dream.dynamics import Rules
from wm.dream.starts import Starts
from wm.models import fit, rnn, vae
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.models.vae import VAE
from wm.runtime import devices, model_file, startup
from wm.search.fitness import Objective, Problem, SearchDream, dream_fitness
from wm.search.payoff import Payoff
from wm.search.space import ControllerSpace

ROOT = Path(__file__).parents[1]
WEIGHTS = rnn.LossWeights(reward=1.0, missed=1.0, done=1.0)
OBJECTIVE = Objective(
    payoff=Payoff(fastest_lap_steps=350, missed_tile_cost=20.0, action_repeat=4),
    rollouts=16,
    horizon_steps=20,
    cvar_level=0.5,
    dropout=0.1,
    precision="bfloat16",
)


def trained(model, loss, batch):
    """The losses of a few steps, and the model's parameters after them."""
    optimiser = fit.adam(1e-3, 4, 10.0)
    for one in fit.updates(model, loss, [batch] * 4, optimiser, key=jr.key(1)):
        yield one.metrics["loss"]
    yield from (leaf.ravel()[::97] for leaf in jax.tree.leaves(eqx.filter(one.model, eqx.is_array)))


def random_batch(rng, shape):
    columns = {name: rng.normal(size=(*shape, 32)) for name in ("mu", "logvar")}
    columns |= {"action": rng.uniform(size=(*shape, 3)), "reward": rng.normal(size=shape)}
    columns = {name: values.astype(np.float32) for name, values in columns.items()}
    flags = {"missed": np.ones(shape, int), "done": np.zeros(shape, bool), "mask": np.ones(shape, bool)}
    return rnn.to_batch(columns | flags)


def fitness(model, rng):
    """The fitness of a generation, from random start states."""
    memory = model.start(OBJECTIVE.rollouts)
    z = jnp.asarray(rng.normal(size=(OBJECTIVE.rollouts, 32)), jnp.float32)
    world = SearchDream(model, Starts(z, z - 9, memory, memory), lambda hidden: hidden[..., 0])  # pyright: ignore
    space = ControllerSpace(Controller(features=288), jnp.eye(288), jnp.zeros(288))
    judge = dream_fitness(
        Problem([world], model, Rules(temperature=1.0, stuck_steps=0, action_repeat=4), OBJECTIVE),
        space,
        jr.key(2),
    )
    return judge(0, rng.normal(size=(16, 3 * 289)) / 10)


def figures():
    rng = np.random.default_rng(0)
    model = model_file.load(ROOT / "models/pretrained/rnn.eqx", RNN)
    frames = rng.integers(0, 256, (8, 64, 64, 3), np.uint8)
    loss = eqx.Partial(rnn.loss, weights=WEIGHTS, dropout=0.1)
    found = [
        *trained(model, loss, random_batch(rng, (8, 30))),
        *trained(VAE(latent_size=4, widths=(4, 8), key=jr.key(3)), vae.loss, frames),
        *vae.encode(VAE(latent_size=4, widths=(4, 8), key=jr.key(3)), devices.split(jnp.asarray(frames))),
        fitness(model_file.load(ROOT / "models/pretrained/rnn.eqx", RNN), rng),
    ]
    return np.concatenate([np.ravel(one) for one in found])


def on(count, path):
    """The figures of a process with so many devices."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, str(path)]
    subprocess.run(command, env=environment, check=True)
    return np.load(path, allow_pickle=False)


def test_four_devices_compute_what_one_computes(tmp_path):
    one, four = on(1, tmp_path / "one.npy"), on(4, tmp_path / "four.npy")
    assert len(one) > 1000
    np.testing.assert_allclose(four, one, rtol=2e-3, atol=2e-4)


def test_arrays_stay_as_they_are_on_one_device():
    if jax.device_count() > 1:
        pytest.skip("more than one device here")
    array = np.arange(3)
    assert devices.split(array) is array


if __name__ == "__main__":
    np.save(sys.argv[1], figures())
    shards = devices.split(jnp.zeros((8, 2))).sharding  # pyright: ignore
    assert len(shards.device_set) == jax.device_count()
    assert devices.split(jnp.zeros(7)).sharding.is_fully_replicated  # pyright: ignore
    shards = devices.split(jnp.zeros(devices.padded(7))).sharding  # pyright: ignore
    assert 7 <= devices.padded(7) < 7 + jax.device_count()
    assert jax.device_count() == 1 or not shards.is_fully_replicated


@pytest.mark.parametrize(
    ("flags", "used"),
    [
        ("flags : fma avx avx2", "float32"),
        ("flags : avx avx2 avx512f", "bfloat16"),
        ("Features : fp asimd", "bfloat16"),
        ("", "bfloat16"),
    ],
)
def test_a_processor_that_is_slow_in_bfloat16_multiplies_in_float32(monkeypatch, tmp_path, flags, used):
    monkeypatch.setattr(startup, "PROCESSORS", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"model name : a\n{flags}\n")
    assert devices.precision("bfloat16") == used
    assert devices.precision("float32") == "float32"
