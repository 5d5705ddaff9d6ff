"""`wm publish` copies a whole agent, or nothing."""

from pathlib import Path
from typing import Any

import jax.random as jr
import numpy as np
import pytest

from wm import cli
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


def write_starts(project, latent_size):
    latents = np.zeros((3, latent_size), np.float32)
    other = {"logvar": np.zeros((3, 4), np.float32), "warm_up_reward": np.zeros(3, np.float32)}
    np.savez(project / "models/rounds/r0/starts.npz", mu=latents, **other)


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
    write_starts(tmp_path, 4)
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
        "starts.npz": "models/rounds/r0/starts.npz",
    }
    for name, source in copies.items():
        assert (published / name).read_bytes() == (project / source).read_bytes()
    assert files.read_json(published / "environment.json") == {"action_repeat": 2, "warm_up_frames": 50}
    card = (published / "MODEL_CARD.md").read_text()
    evolve = load(PARAMS).evolve
    expected = Origin(["r0"], Timing(2, 50), [evolve.dream_steps(0)], 900_000)
    assert card == f"the card of {expected}"
    assert len(list(published.iterdir())) == len(copies) + 2


def test_nothing_is_published_if_the_starts_do_not_fit_the_models(project):
    write_starts(project, 5)
    with pytest.raises(BadInput, match=r"starts.npz: mu: found float32 \(3, 5\)"):
        publish.publish(ORIGIN)
    assert not (project / "models/pretrained").exists()


def test_a_round_that_params_do_not_name_is_refused(project):
    with pytest.raises(BadInput, match="round: found 'r9', expected one of r0, r1"):
        cli.publish("r9")
