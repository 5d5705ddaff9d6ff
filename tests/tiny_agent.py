"""An untrained agent of a few kilobytes, for tests of commands."""

from pathlib import Path

import jax.random as jr

from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.models.vae import VAE
from wm.runtime import model_file


def tiny_agent(folder: Path) -> Path:
    """The folder, with the files of an agent that acts every 40 frames."""
    model_file.save(folder / "vae.eqx", VAE(latent_size=4, widths=(4, 4, 4, 4), key=jr.key(0)))
    model_file.save(folder / "rnn.eqx", RNN(latent_size=4, hidden_size=8, mixtures=2, key=jr.key(1)))
    model_file.save(folder / "controller.eqx", Controller(features=12))
    (folder / "environment.json").write_text('{"action_repeat": 40, "warm_up_frames": 50}')
    return folder
