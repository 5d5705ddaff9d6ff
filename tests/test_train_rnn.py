from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event
from time import sleep

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from stages.train_rnn import InMemory, report, rounded, side_by_side
from wm.data.episode import Episode, Record
from wm.data.shards import Shards, Writer
from wm.errors import Halted
from wm.models import fit
from wm.models.rnn import RNN
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
    shards = InMemory(tmp_path / "raw")
    first = [shards.read(record) for record in shards.records]
    for path in (tmp_path / "raw").glob("*.parquet"):
        path.unlink()
    shards._open.clear()
    for record, seen, drive in zip(shards.records, first, drives, strict=True):
        assert shards.read(record) is seen
        assert (seen.actions == drive.actions).all()


def test_threads_read_one_after_the_other(tmp_path, monkeypatch):
    reading, most = [], []

    def read(self, record):
        reading.append(record)
        most.append(len(reading))
        sleep(0.01)
        reading.remove(record)

    monkeypatch.setattr(Shards, "read", read)
    monkeypatch.setattr(Shards, "__init__", lambda self, folder: None)
    shards = InMemory(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(shards.read, range(8)))
    assert most == [1] * 8


def test_curves_lie_side_by_side(tmp_path):
    curves = {"rnn": [{"step": 1, "nll": 3.0}], "simulator_0": [{"step": 1, "nll": 4.0}]}
    report(curves, tmp_path)
    assert (tmp_path / "train_rnn.csv").read_text() == "step,nll,simulator_0_nll\n1,3.0,4.0\n"
    assert read_json(tmp_path / "train_rnn.json") == {"rnn": {"nll": 3.0}, "simulator_0": {"nll": 4.0}}


def test_trainings_run_at_once_and_come_back_in_their_order():
    first_is_there = Event()

    def first(leave_off):
        first_is_there.set()
        return 1

    def second(leave_off):
        assert first_is_there.wait(10)
        return 2

    assert side_by_side([second, first]) == [2, 1]


def test_one_that_fails_ends_the_others():
    left_off, all_run = [], Barrier(3, timeout=10)

    def fails(leave_off):
        all_run.wait()
        raise Halted("no more")

    def goes_on(number, leave_off):
        all_run.wait()
        left_off.append((number, leave_off.wait(10)))

    with pytest.raises(Halted, match="no more"):
        side_by_side([partial(goes_on, 1), fails, partial(goes_on, 2)])
    assert sorted(left_off) == [(1, True), (2, True)]


def test_what_is_learnt_of_rounded_weights_is_added_to_those_that_are_not():
    model = RNN(latent_size=4, hidden_size=16, mixtures=3, key=jr.key(0))
    before = np.asarray(model.hidden_weight)

    def loss(model, batch, key):
        assert model.hidden_weight.dtype == jnp.bfloat16
        return (model.hidden_weight * batch).sum(), {}

    steps = fit.fit(model, rounded(loss, "bfloat16"), [jnp.ones(())], optax.sgd(1e-6), key=jr.key(1))
    after = next(steps).model.hidden_weight
    assert after.dtype == jnp.float32
    assert np.allclose(before - after, 1e-6, rtol=0.05)  # a bfloat16 beside 0.1 has steps of 5e-4
