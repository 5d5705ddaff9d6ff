"""Episodes written to shards and read back, batches of them, and resumed work."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from wm.data import batches
from wm.data import shards as shards_module
from wm.data.batches import frame_batches
from wm.data.episode import Episode, Record, mirror
from wm.data.manifest import CorruptShard
from wm.data.resumable import resumable_episodes
from wm.data.shards import Shards, Writer
from wm.runtime import files


def episode(seed, length=5, source="a", kept=True):
    rng = np.random.default_rng(seed)
    return Episode(
        Record(0, seed, source, length, score=1.5, warm_up_reward=0.5, lap_finished=False, kept=kept),
        {"frame": rng.integers(0, 256, (length, 64, 64, 3), np.uint8)},
        rng.uniform(-1, 1, (length, 3)).astype(np.float32),
        rng.normal(size=length).astype(np.float32),
        rng.integers(0, 9, length).astype(np.int16),
        np.arange(length) == length - 1,
        np.zeros(length, bool),
    )


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "raw", [episode(i, length=4 + i) for i in range(6)])
    return tmp_path / "raw"


def write(path, episodes):
    with files.replacing(path) as unfinished:
        writer = Writer(unfinished, "x")
        for each in episodes:
            writer.write(each)
        writer.finish()


def test_episodes_are_read_as_they_were_written(folder):
    shards = Shards(folder)
    for seed, record in enumerate(shards.records):
        found, expected = shards.read(record), episode(seed, length=4 + seed)
        assert (found.observations["frame"] == expected.observations["frame"]).all()
        assert (found.actions == expected.actions).all()
        assert (found.rewards == expected.rewards).all()
        assert (found.missed == expected.missed).all()
        assert (found.terminated == expected.terminated).all()
        assert record.seed == seed
        assert record.length == 4 + seed


def test_the_same_episodes_give_the_same_bytes(folder, tmp_path):
    write(tmp_path / "again", [episode(i, length=4 + i) for i in range(6)])
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_full_shard_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module, "SHARD_BYTES", 200_000)  # frames of noise: 12 KB each
    write(tmp_path / "raw", [episode(i, length=10) for i in range(6)])
    shards = Shards(tmp_path / "raw")
    assert len(shards.shards) == 3
    found = shards.read(shards.records[5])
    assert (found.observations["frame"] == episode(5, length=10).observations["frame"]).all()


def test_episodes_that_are_not_kept_have_a_record_but_no_rows(tmp_path):
    write(tmp_path / "raw", [episode(0), episode(1, kept=False), episode(2)])
    shards = Shards(tmp_path / "raw")
    assert [record.seed for record in shards.records] == [0, 1, 2]
    assert [record.seed for record in shards.kept()] == [0, 2]
    assert sum(shard.rows for shard in shards.shards) == 10


def test_every_flipped_bit_of_a_shard_is_detected(folder):
    path = next(folder.glob("*.parquet"))
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(len(whole), size=20):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CorruptShard, match=path.name):
            Shards(folder)


def test_missing_and_extra_shards_are_refused(folder):
    path = next(folder.glob("*.parquet"))
    extra = folder / "y-00000.parquet"
    extra.write_bytes(path.read_bytes())
    with pytest.raises(CorruptShard, match="not in the manifest"):
        Shards(folder)
    extra.unlink()
    path.unlink()
    with pytest.raises(CorruptShard, match="missing"):
        Shards(folder)


def test_mirror_flips_frames_and_negates_steering_only(folder):
    original = episode(3)
    mirrored = mirror(original)
    assert (mirrored.observations["frame"][:, :, 0] == original.observations["frame"][:, :, 63]).all()
    assert (mirrored.actions[:, 0] == -original.actions[:, 0]).all()
    assert (mirrored.actions[:, 1:] == original.actions[:, 1:]).all()
    assert (mirrored.rewards == original.rewards).all()


def test_mirrored_twice_is_the_original():
    original = episode(3)
    twice = mirror(mirror(original))
    assert (twice.observations["frame"] == original.observations["frame"]).all()
    assert (twice.actions == original.actions).all()
    assert twice.record == original.record


def test_a_pass_of_batches_has_every_frame_once(folder):
    shards = Shards(folder)
    frames = np.concatenate([shards.read(record).observations["frame"] for record in shards.records])
    count = len(frames)
    batches = frame_batches(shards, shards.records, batch_size=3, buffer_episodes=2, seed=0)
    one_pass = np.concatenate(list(islice(batches, count // 3)))
    found = [frame.tobytes() for frame in one_pass]
    assert len(set(found)) == len(found)
    assert {frame.tobytes() for frame in one_pass} <= {frame.tobytes() for frame in frames}


def test_stacked_pads_and_marks_real_steps(folder):
    shards = Shards(folder)
    batch = batches.stacked(shards, shards.records[:2], steps=9)
    assert batch["mask"].sum(axis=1).tolist() == [4, 5]
    assert batch["done"].sum() == 2
    assert (batch["reward"][0, 4:] == 0).all()
    assert (batch["action"][1, :5] == episode(1, length=5).actions).all()


def test_each_round_gets_its_share_of_what_newer_rounds_leave():
    names = ["script"] * 80 + ["r0"] * 10 + ["r1"] * 10
    records = [replace(episode(0).record, source=name) for name in names]
    drawn = batches.draw(records, ["r1", "r0"], 0.4, 20_000, np.random.default_rng(0))
    shares = {name: np.mean([record.source == name for record in drawn]) for name in set(names)}
    assert shares == pytest.approx({"r1": 0.4, "r0": 0.24, "script": 0.36}, abs=0.02)


def test_draw_ignores_sources_without_episodes():
    records = [replace(episode(i).record, source="r0") for i in range(3)]
    drawn = batches.draw(records, ["r1", "r0"], 0.4, 50, np.random.default_rng(0))
    assert {record.seed for record in drawn} == {0, 1, 2}


def test_adopted_shards_have_the_same_bytes(folder, tmp_path):
    with files.replacing(tmp_path / "more") as unfinished:
        writer = Writer(unfinished, "y")
        writer.adopt(Shards(folder))
        writer.write(episode(9, source="new"))
        writer.finish()
    more = Shards(tmp_path / "more")
    assert [record.seed for record in more.records] == [0, 1, 2, 3, 4, 5, 9]
    assert (more.folder / "x-00000.parquet").read_bytes() == (folder / "x-00000.parquet").read_bytes()
    assert (more.read(more.records[6]).rewards == episode(9).rewards).all()


class Killed(Exception):
    """Stands for a kill of the process."""


def driver(driven_seeds, kill_at=None):
    """Makes an episode per seed, notes the seed, and is killed before seed `kill_at`."""

    def drive(seeds):
        for seed in seeds:
            if seed == kill_at:
                raise Killed
            driven_seeds.append(seed)
            yield episode(seed)

    return drive


def resumed(folder, driven_seeds, kill_at=None):
    return list(resumable_episodes(folder, list(range(25)), driver(driven_seeds, kill_at)))


def same(found, expected):
    return found.record == expected.record and all(
        np.array_equal(a, b)
        for a, b in [
            (found.observations["frame"], expected.observations["frame"]),
            (found.actions, expected.actions),
            (found.rewards, expected.rewards),
            (found.missed, expected.missed),
            (found.terminated, expected.terminated),
            (found.truncated, expected.truncated),
        ]
    )


@pytest.mark.parametrize(("kill_at", "kept"), [(3, 0), (10, 10), (24, 20)])
def test_saved_episodes_are_not_driven_again_and_are_read_unchanged(tmp_path, kill_at, kept):
    with pytest.raises(Killed):
        resumed(tmp_path, [], kill_at)
    driven_seeds = []
    found = resumed(tmp_path, driven_seeds)
    assert driven_seeds == list(range(kept, 25))
    assert all(same(each, episode(seed)) for seed, each in enumerate(found))
    assert len(found) == 25


def test_a_damaged_part_of_the_saved_drives_is_driven_again(tmp_path, capsys):
    resumed(tmp_path, [])
    part = next((tmp_path / "000010").glob("*.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    driven_seeds = []
    found = resumed(tmp_path, driven_seeds)
    assert driven_seeds == list(range(10, 25))
    assert all(same(each, episode(seed)) for seed, each in enumerate(found))
    assert f"warning: {part.parent}: damaged; driving its episodes again\n" in capsys.readouterr().err
