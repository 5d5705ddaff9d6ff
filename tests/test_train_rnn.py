from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Barrier, Event
from time import sleep

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from stages.train_rnn import report
from wm.data.cached import CachedShards
from wm.data.episode import Episode, Record
from wm.data.shards import Shards, Writer
from wm.errors import Halted
from wm.models import fit
from wm.models.fit import in_threads
from wm.models.rnn import RNN, with_rounded_weights
from wm.params import profiles
from wm.params.train_rnn import TrainRNN
from wm.runtime import files
from wm.runtime.files import read_json


@pytest.fixture
def drives():
    rng = np.random.default_rng(0)
    return [
        Episode(
            Record(0, seed, "a", 5, score=1.0, warm_up_reward=0.5, lap_finished=False),
            {"mu": rng.normal(size=(5, 4)).astype(np.float32)},
            rng.normal(size=(5, 3)).astype(np.float32),
            np.zeros(5, np.float32),
            np.zeros(5, np.int16),
            np.zeros(5, bool),
            np.zeros(5, bool),
        )
        for seed in range(3)
    ]


def test_an_episode_is_read_from_its_shard_once(tmp_path, drives):
    with files.replacing(tmp_path / "raw") as folder:
        writer = Writer(folder, "x")
        for drive in drives:
            writer.write(drive)
        writer.finish()
    shards = CachedShards(tmp_path / "raw")
    first = [shards.read(record) for record in shards.records]
    for path in (tmp_path / "raw").glob("*.parquet"):
        path.unlink()
    shards._open.clear()
    for record, seen, drive in zip(shards.records, first, drives, strict=True):
        assert shards.read(record) is seen
        assert (seen.actions == drive.actions).all()


def test_threads_read_one_after_the_other(tmp_path, monkeypatch, drives):
    reading, most = [], []

    def read(self, record):
        reading.append(record)
        most.append(len(reading))
        sleep(0.01)
        reading.remove(record)
        return drives[0]

    monkeypatch.setattr(Shards, "read", read)
    monkeypatch.setattr(Shards, "__init__", lambda self, folder: None)
    shards = CachedShards(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(shards.read, [replace(drives[0].record, seed=seed) for seed in range(8)]))
    assert most == [1] * 8


def test_curves_are_written_side_by_side(tmp_path):
    curves = {"rnn": [{"step": 1, "nll": 3.0}], "simulator_0": [{"step": 1, "nll": 4.0}]}
    report(curves, tmp_path)
    assert (tmp_path / "train_rnn.csv").read_text() == "step,nll,simulator_0_nll\n1,3.0,4.0\n"
    assert read_json(tmp_path / "train_rnn.json") == {"rnn": {"nll": 3.0}, "simulator_0": {"nll": 4.0}}


def test_trainings_run_at_the_same_time_and_their_results_keep_their_order():
    first_is_there = Event()

    def first(stop):
        first_is_there.set()
        return 1

    def second(stop):
        assert first_is_there.wait(10)
        return 2

    assert in_threads([second, first]) == [2, 1]


def test_a_training_that_fails_stops_the_others():
    stopped, all_run = [], Barrier(3, timeout=10)

    def fails(stop):
        all_run.wait()
        raise Halted("no more")

    def goes_on(number, stop):
        all_run.wait()
        stopped.append((number, stop.wait(10)))

    with pytest.raises(Halted, match="no more"):
        in_threads([partial(goes_on, 1), fails, partial(goes_on, 2)])
    assert sorted(stopped) == [(1, True), (2, True)]


def test_gradients_of_rounded_weights_update_those_that_are_not_rounded():
    model = RNN(latent_size=4, hidden_size=16, mixtures=3, key=jr.key(0))
    before = np.asarray(model.hidden_weight)

    def loss(model, batch, key):
        assert model.hidden_weight.dtype == jnp.bfloat16
        return (model.hidden_weight * batch).sum(), {}

    steps = fit.updates(
        model, with_rounded_weights(loss, "bfloat16"), [jnp.ones(())], optax.sgd(1e-6), key=jr.key(1)
    )
    after = next(steps).model.hidden_weight
    assert after.dtype == jnp.float32
    assert np.allclose(before - after, 1e-6, rtol=0.05)  # a bfloat16 beside 0.1 has steps of 5e-4


def test_the_first_round_has_its_own_steps_and_learning_rate():
    sizes = {"first_round_steps": 30, "steps": 20, "first_round_learning_rate": 0.4, "learning_rate": 0.1}
    settings = TrainRNN(**profiles.content("default")["train_rnn"] | sizes)
    assert settings.schedule(first=True) == (30, 0.4)
    assert settings.schedule(first=False) == (20, 0.1)
