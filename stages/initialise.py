"""The untrained RNNs that the first round starts from: `python -m stages.initialise`."""

from pathlib import Path

import jax.random as jr
from pydantic import NonNegativeInt, PositiveInt

from wm import config, model_file
from wm.rnn import RNN, Ensemble
from wm.vae import VAE

VAE_MODEL, FOLDER = Path("models/vae.eqx"), Path("models/init")


class Config(config.Section):
    seed: NonNegativeInt
    hidden_size: PositiveInt
    mixtures: PositiveInt
    simulators: NonNegativeInt  # RNNs that make the dreams; 0: the agent's own makes them


def main() -> None:
    settings = config.section(Config, "initialise")
    sizes = {
        "latent_size": model_file.load(VAE_MODEL, VAE).latent_size,
        "hidden_size": settings.hidden_size,
        "mixtures": settings.mixtures,
    }
    own_key, other_key = jr.split(jr.key(settings.seed))
    model_file.save(FOLDER / "rnn.eqx", RNN(**sizes, key=own_key))
    model_file.save(FOLDER / "simulators.eqx", Ensemble(count=settings.simulators, **sizes, key=other_key))


if __name__ == "__main__":
    config.run(main)
