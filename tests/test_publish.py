"""`wm publish` copies a whole agent, or nothing."""

import shutil
from pathlib import Path
from typing import Any

import jax.random as jr
import numpy as np
import pytest

from wm import cli
from wm.data.episode import Episode, Record
from wm.data.shards import Writer
from wm.dream.starts import read_starts
from wm.errors import BadInput
from wm.export import publish
from wm.models.controller import Controller
from wm.models.rnn import RNN, Ensemble
from wm.models.vae import VAE
from wm.params.file import load
from wm.report.model_card import Origin
from wm.runtime import files, model_file
from wm.spec import Timing

PARAMS = Path(__file__).parents[1] / "profiles/default.yaml"
ORIGIN = Origin(["r0"], Timing(2, 50), [1000], 900_000)
SIZES: dict[str, Any] = {"latent_size": 4, "hidden_size": 8, "mixtures": 2}


def write_latents(project, latent_size):
    """Two validation drives, one of them mirrored, and a training drive; their mu are their numbers."""
    shutil.rmtree(project / "data", ignore_errors=True)
    with files.replacing(project / "data/latents/r0") as folder:
        writer = Writer(folder, "r0")
        for number, (validation, mirrored) in enumerate([(True, False), (True, True), (False, False)]):
            writer.write(drive(latent_size, number, validation=validation, mirrored=mirrored))
        writer.finish()


def drive(latent_size, number, **record):
    """A drive of two steps."""
    latents = np.full((2, latent_size), number, np.float32)
    last = np.array([False, True])
    return Episode(
        Record(0, number, "r0", 2, score=1.0, warm_up_reward=0.5, lap_finished=False, **record),
        {"mu": latents, "logvar": latents - 9},
        np.zeros((2, 3), np.float32),
        np.zeros(2, np.float32),
        np.zeros(2, np.int16),
        last & False,
        last,
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the models and the scores of round r0."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes(PARAMS.read_bytes())
    monkeypatch.setattr(publish, "model_card", lambda origin: f"the card of {origin}")
    models, scores = tmp_path / "models/rounds/r0", tmp_path / "metrics/rounds/r0"
    model_file.save(tmp_path / "models/vae.eqx", VAE(latent_size=4, widths=(4, 4), key=jr.key(0)))
    model_file.save(models / "rnn.eqx", RNN(**SIZES, key=jr.key(1)))
    model_file.save(models / "controller.eqx", Controller(features=12))
    model_file.save(models / "simulators.eqx", Ensemble(count=1, **SIZES, key=jr.key(2)))
    files.write_json(scores / "dream.json", {"world": "dream"})
    files.write_json(tmp_path / "metrics/real.json", {"world": "real"})
    files.write_json(tmp_path / "metrics/ranks.json", {"chosen": "r0"})
    write_latents(tmp_path, 4)
    return tmp_path


def test_the_chosen_round_is_published_with_all_that_its_dreams_need(project, capsys):
    cli.publish()
    assert capsys.readouterr().out == "models/pretrained: the agent of round r0\n"
    published = project / "models/pretrained"
    copies = {
        "vae.eqx": "models/vae.eqx",
        **{name: f"models/rounds/r0/{name}" for name in ("rnn.eqx", "controller.eqx", "simulators.eqx")},
        "dream.json": "metrics/rounds/r0/dream.json",
        "real.json": "metrics/real.json",
    }
    for name, source in copies.items():
        assert (published / name).read_bytes() == (project / source).read_bytes()
    assert files.read_json(published / "environment.json") == {"action_repeat": 2, "warm_up_frames": 50}
    starts = read_starts(published / "starts.npz", 4)
    assert np.array_equal(starts.mu, np.zeros((1, 4)))
    assert starts.warm_up_reward.tolist() == [0.5]
    card = (published / "MODEL_CARD.md").read_text()
    evolve = load(PARAMS).evolve
    expected = Origin(["r0"], Timing(2, 50), [evolve.dream_steps(0)], 900_000)
    assert card == f"the card of {expected}"
    assert len(list(published.iterdir())) == len(copies) + 3


def test_nothing_is_published_if_the_latents_do_not_fit_the_models(project):
    write_latents(project, 5)
    with pytest.raises(BadInput, match=r"r0-00000\.parquet: numbers per step: found {'mu': 5, 'logvar': 5}"):
        publish.publish(ORIGIN)
    assert not (project / "models/pretrained").exists()


def test_a_round_that_params_do_not_name_is_refused(project):
    with pytest.raises(BadInput, match="round: found 'r9', expected one of r0, r1"):
        cli.publish("r9")
