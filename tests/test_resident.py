from itertools import islice
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from wm.data import resident
from wm.data.episode import Episode, Record
from wm.data.resident import FrameOrder
from wm.data.shards import Shards, Writer
from wm.models import rnn_data
from wm.models.rnn_data import DriveBatches
from wm.runtime import files

LENGTHS = [7, 4, 9, 5, 9]
ORDER = FrameOrder(batch_size=4, buffer_episodes=2, seed=3)
BATCH = 3  # drives


def shards(folder, observations):
    with files.replacing(folder) as unfinished:
        writer = Writer(unfinished, "x")
        for seed, length in enumerate(LENGTHS):
            rng = np.random.default_rng(seed)
            writer.write(
                Episode(
                    Record(0, seed, "a", length, score=1.0, warm_up_reward=0.5, lap_finished=False),
                    observations(rng, length),
                    rng.normal(size=(length, 3)).astype(np.float32),
                    rng.normal(size=length).astype(np.float32),
                    rng.integers(0, 9, length, np.int16),
                    rng.random(length) < 0.5,
                    np.zeros(length, bool),
                )
            )
        writer.finish()
    return Shards(folder)


def frames(rng, length):
    return {"frame": rng.integers(0, 256, (length, 64, 64, 3), np.uint8)}


def latents(rng, length):
    return {name: rng.normal(size=(length, 4)).astype(np.float32) for name in ("mu", "logvar")}


def same(trees, others):
    for one, other in zip(jax.tree.leaves(trees), jax.tree.leaves(others), strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_frames_picked_on_the_device_are_those_that_are_read(tmp_path, monkeypatch):
    data = shards(tmp_path / "frames", frames)
    records = data.kept(validation=False)
    read = list(islice(resident.frames(data, records, ORDER), 30))
    monkeypatch.setattr(resident, "fits", lambda size: size == sum(LENGTHS) * 64 * 64 * 3)
    picked = list(islice(resident.frames(data, records, ORDER), 30))
    assert not any(isinstance(batch, jax.Array) for batch in read)
    assert all(isinstance(batch, jax.Array) for batch in picked)
    same(picked, read)


@pytest.mark.parametrize("done", [0, 11])
def test_drives_picked_on_the_device_are_those_that_are_read(tmp_path, monkeypatch, done):
    data = shards(tmp_path / "latents", latents)
    records = data.kept(validation=False)

    def batches(done):
        batcher = rnn_data.batcher(data, records)
        return list(DriveBatches(batcher, records, ["a"], 0.4, BATCH, [3, 1, 1]).draw(20, done))

    read, sizes = batches(0), []
    monkeypatch.setattr(resident, "fits", lambda size: sizes.append(size) or True)
    picked = batches(done)
    assert len(picked) == 20 - done
    assert sizes == [len(LENGTHS) * resident.nbytes(picked[0]) // BATCH]
    same(picked, read[done:])


def test_drives_on_the_device_are_read_once(tmp_path, monkeypatch):
    data = shards(tmp_path / "latents", latents)
    monkeypatch.setattr(resident, "fits", lambda size: True)
    records = data.kept(validation=False)
    batcher = rnn_data.batcher(data, records)
    monkeypatch.setattr(data, "read", lambda record: pytest.fail("read again"))
    assert np.array_equal(batcher(records[1:3]).mask.sum(axis=1), LENGTHS[1:3])


@pytest.mark.parametrize(
    ("devices", "memory", "size", "fits"),
    [
        (1, {"bytes_limit": 100, "bytes_in_use": 10}, 60, True),
        (1, {"bytes_limit": 100, "bytes_in_use": 10}, 61, False),
        (2, {"bytes_limit": 100, "bytes_in_use": 10}, 1, False),
        (1, None, 1, False),
    ],
)
def test_data_stays_on_one_device_with_room(monkeypatch, devices, memory, size, fits):
    device = SimpleNamespace(memory_stats=lambda: memory)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    monkeypatch.setattr(jax, "devices", lambda: [device] * devices)
    assert resident.fits(size) == fits


def test_nothing_is_kept_in_a_cpus_memory():
    assert not resident.fits(1)  # it is the host's memory


def test_an_empty_list_of_pieces_is_refused():
    with pytest.raises(ValueError, match="no pieces"):
        resident.on_device([], 0, 3)
