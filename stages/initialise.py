"""The untrained RNN that the first round starts from: `python -m stages.initialise`."""

from pathlib import Path

import jax.random as jr
from pydantic import NonNegativeInt, PositiveInt

from wm import config, model_file
from wm.rnn import RNN
from wm.vae import VAE

VAE_MODEL, MODEL = Path("models/vae.eqx"), Path("models/init/rnn.eqx")


class Config(config.Section):
    seed: NonNegativeInt
    hidden_size: PositiveInt
    mixtures: PositiveInt


def main() -> None:
    settings = config.section(Config, "initialise")
    model = RNN(
        latent_size=model_file.load(VAE_MODEL, VAE).latent_size,
        hidden_size=settings.hidden_size,
        mixtures=settings.mixtures,
        key=jr.key(settings.seed),
    )
    model_file.save(MODEL, model)


if __name__ == "__main__":
    config.run(main)
