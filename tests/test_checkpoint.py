import resource

import jax.numpy as jnp
import pytest

from wm.runtime.checkpoint import Checkpoints

STATE = (jnp.arange(3.0), {"count": jnp.array(7)})
LIKE = (jnp.zeros(3), {"count": jnp.array(0)})


@pytest.fixture
def checkpoints(tmp_path):
    found = Checkpoints(tmp_path / "rnn", seconds=0.0)
    assert found.last(LIKE) is None
    assert "no checkpoint" in str(found)
    found.save({"step": 1}, LIKE)
    found.save({"step": 2, "curve": [0.1]}, STATE)
    return found


def step(found):
    return found[0]["step"]


def test_the_newest_checkpoint_is_read_bit_for_bit(checkpoints):
    notes, (numbers, rest) = checkpoints.last(LIKE)
    assert notes == {"step": 2, "curve": [0.1]}
    assert numbers.tolist() == STATE[0].tolist()
    assert int(rest["count"]) == 7
    assert "newest" in str(checkpoints)


@pytest.mark.parametrize("at", [0, 5, 30, -1])
def test_after_a_flipped_byte_the_previous_checkpoint_is_used_with_a_warning(checkpoints, capsys, at):
    path = checkpoints.folder / "newest"
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert step(checkpoints.last(LIKE)) == 1
    assert f"warning: {path}: damaged" in capsys.readouterr().err


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_truncated_checkpoint_falls_back_too(checkpoints, keep):
    path = checkpoints.folder / "newest"
    path.write_bytes(path.read_bytes()[:keep])
    assert step(checkpoints.last(LIKE)) == 1


def test_with_both_checkpoints_damaged_there_is_none(checkpoints):
    for name in ("newest", "before"):
        (checkpoints.folder / name).write_bytes(b"{}\n")
    assert checkpoints.last(LIKE) is None


def test_only_two_checkpoints_are_kept(checkpoints):
    checkpoints.save({"step": 3}, STATE)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["before", "newest"]


def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_the_previous_one(checkpoints):
    """A limit on the size of files stands for the full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            checkpoints.save({"step": 3}, STATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(checkpoints.folder / "newest")
    assert step(checkpoints.last(LIKE)) == 2
    assert [path.name for path in checkpoints.folder.iterdir()] == ["before"]


def test_due_after_its_seconds(tmp_path):
    assert Checkpoints(tmp_path, seconds=0.0).due
    assert not Checkpoints(tmp_path, seconds=60.0).due
