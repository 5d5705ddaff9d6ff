"""A round's drives are filtered, mirrored and encoded as those of the scripted drivers are in two stages."""

import jax.random as jr
import numpy as np
import pytest

from stages import encode, encode_explored, process
from wm.data.episode import Episode, Record
from wm.data.shards import Shards, Writer
from wm.models.vae import VAE
from wm.params import profiles
from wm.params.check import check
from wm.runtime import files, model_file


def drive(seed, source):
    """A random drive of a length that depends on its track; the odd ones score less than the even ones."""
    rng, steps = np.random.default_rng(seed), 5 + seed
    last = np.arange(steps) == steps - 1
    return Episode(
        Record(0, seed, source, steps, score=9.0 - seed % 2, warm_up_reward=0.5, lap_finished=False),
        {"frame": rng.integers(0, 256, (steps, 64, 64, 3), np.uint8)},
        rng.uniform(0, 1, (steps, 3)).astype(np.float32),
        rng.normal(size=steps).astype(np.float32),
        np.zeros(steps, np.int16),
        last,
        ~last & False,
    )


@pytest.fixture
def params(tmp_path, monkeypatch):
    """The parameters of a project in which a driver and a round's agent made the same drives."""
    content = profiles.content("default") | {"rounds": {"r0": {"prev": "init"}}}
    content["collect"] = {"erratic": {"seed": 1, "episodes": 6}}
    content["process"] |= {"min_score": {"erratic": 8.5, "r0": 8.5}, "validation_share": 0.4}
    monkeypatch.chdir(tmp_path)
    for source in ("erratic", "r0"):
        with files.replacing(tmp_path / "data/raw" / source) as folder:
            writer = Writer(folder, source)
            for seed in range(6):
                writer.write(drive(seed, source))
            writer.finish()
    model_file.save(tmp_path / "models/vae.eqx", VAE(latent_size=4, widths=(4, 4), key=jr.key(0)))
    return check(content)


def test_explored_drives_become_the_latents_that_process_and_encode_would_make(params, tmp_path):
    process.main(params)
    encode.main(params)
    encode_explored.main(params, "r0", "init")
    before, after = (Shards(tmp_path / "data/latents" / name) for name in ("init", "r0"))
    scripted, explored = before.records, after.records[len(before.records) :]
    assert [record.seed for record in scripted] == [0, 0, 2, 2, 4, 4]
    assert after.records[: len(scripted)] == scripted
    for a, b in zip(scripted, explored, strict=True):
        assert (a.seed, a.mirrored, a.validation) == (b.seed, b.mirrored, b.validation)
        first, second = before.read(a), after.read(b)
        for name in ("mu", "logvar"):
            assert np.array_equal(first.observations[name], second.observations[name])
        assert np.array_equal(first.actions, second.actions)
