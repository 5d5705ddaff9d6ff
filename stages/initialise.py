"""The untrained RNNs and the controller of zeros that the first round starts from."""

import sys
from pathlib import Path

import jax.random as jr
from pydantic import NonNegativeInt, PositiveInt

from wm import config, model_file
from wm.controller import Controller
from wm.rnn import RNN, Ensemble
from wm.vae import VAE

VAE_MODEL, FOLDER = Path("models/vae.eqx"), Path("models/init")


class Config(config.Section):
    seed: NonNegativeInt
    hidden_size: PositiveInt
    mixtures: PositiveInt
    joint: bool  # one choice of the mixture's component for all latent dimensions, instead of one for each
    simulators: NonNegativeInt  # RNNs that make the dreams; 0: the agent's own makes them


def main() -> None:
    settings = config.section(Config, "initialise")
    sizes = {
        "latent_size": model_file.load(VAE_MODEL, VAE).latent_size,
        "hidden_size": settings.hidden_size,
        "mixtures": settings.mixtures,
        "joint": settings.joint,
    }
    own_key, other_key = jr.split(jr.key(settings.seed))
    model_file.save(FOLDER / "rnn.eqx", RNN(**sizes, key=own_key))
    model_file.save(FOLDER / "simulators.eqx", Ensemble(count=settings.simulators, **sizes, key=other_key))
    features = sizes["latent_size"] + sizes["hidden_size"]
    model_file.save(FOLDER / "controller.eqx", Controller(features=features))


if __name__ == "__main__":
    config.run_stage(main, *sys.argv[1:])
