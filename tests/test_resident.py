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
from wm.models.rnn_data import BatchShape, WindowBatches
from wm.runtime import files

LENGTHS = [7, 4, 9, 5, 9]
ORDER = FrameOrder(batch_size=4, buffer_episodes=2, seed=3)
SHAPE = BatchShape(windows=3, steps=6)


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
def test_windows_picked_on_the_device_are_those_that_are_read(tmp_path, monkeypatch, done):
    data = shards(tmp_path / "latents", latents)
    records = data.kept(validation=False)

    def batches(done):
        batcher = rnn_data.batcher(data, records, SHAPE.steps)
        return list(WindowBatches(batcher, records, ["a"], 0.4, SHAPE, [3, 1, 1]).draw(20, done))

    read, sizes = batches(0), []
    monkeypatch.setattr(resident, "fits", lambda size: sizes.append(size) or True)
    picked = batches(done)
    assert len(picked) == 20 - done
    assert sizes == [sum(leaf[0].nbytes for leaf in picked[0]) // SHAPE.steps * max(LENGTHS) * len(LENGTHS)]
    same(picked, read[done:])


def test_a_window_is_a_part_of_its_drive(tmp_path):
    data = shards(tmp_path / "latents", latents)
    records = data.kept(validation=False)
    batch = rnn_data.read_padded(data, 5, records[:3], np.array([2, 0, 4]))
    for row, (first, length) in enumerate([(2, 5), (0, 4), (4, 5)]):
        whole = data.read(records[row])
        assert np.array_equal(batch.mu[row, :length], whole.observations["mu"][first : first + length])
        assert np.array_equal(batch.reward[row, :length], whole.rewards[first : first + length])
        assert batch.mask[row].sum() == length


def test_the_ends_of_a_drive_are_in_at_least_half_as_many_windows_as_its_middle():
    records = [Record(0, 1, "a", 100, score=1.0, warm_up_reward=0.5, lap_finished=False)] * 40_000
    starts = rnn_data.first_steps(records, 20, np.random.default_rng(0))
    times = starts[:, None] + np.arange(20)
    seen = np.bincount(times.ravel(), minlength=100) / len(records)
    assert times.min() == 0
    assert times.max() == 99
    middle = seen[40:60].mean()
    assert seen.min() > 0.48 * middle  # uniform starts give 1/20
    assert seen.max() < 1.6 * middle


def test_the_window_of_a_short_drive_is_the_drive():
    records = [Record(0, 1, "a", 7, score=1.0, warm_up_reward=0.5, lap_finished=False)] * 50
    assert not rnn_data.first_steps(records, 20, np.random.default_rng(0)).any()


def test_drives_on_the_device_are_read_once(tmp_path, monkeypatch):
    data = shards(tmp_path / "latents", latents)
    monkeypatch.setattr(resident, "fits", lambda size: True)
    records = data.kept(validation=False)
    batcher = rnn_data.batcher(data, records, 20)
    monkeypatch.setattr(data, "read", lambda record: pytest.fail("read again"))
    assert np.array_equal(batcher(records[1:3], np.zeros(2, int)).mask.sum(axis=1), LENGTHS[1:3])


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
