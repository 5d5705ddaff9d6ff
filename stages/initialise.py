"""Creates the untrained RNNs and the zero controller that the first round starts from."""

import jax.random as jr

from wm.models.controller import Controller
from wm.models.rnn import RNN, Ensemble
from wm.models.rnn_files import RNNs
from wm.models.vae import VAE
from wm.params.model import Params
from wm.params.names import INIT
from wm.runtime import model_file
from wm.runtime.places import ROUND_MODELS, VAE_MODEL

FOLDER = ROUND_MODELS / INIT


def main(params: Params) -> None:
    settings = params.initialise
    sizes = {
        "latent_size": model_file.load(VAE_MODEL, VAE).latent_size,
        "hidden_size": settings.hidden_size,
        "mixtures": settings.mixtures,
        "joint": settings.joint_mixture,
    }
    own_key, other_key = jr.split(jr.key(settings.seed))
    ensemble = Ensemble(count=settings.simulators, **sizes, key=other_key)
    RNNs(RNN(**sizes, key=own_key), ensemble).save(FOLDER)
    features = sizes["latent_size"] + sizes["hidden_size"]
    model_file.save(FOLDER / "controller.eqx", Controller(features=features))
