"""Drives with latents instead of frames."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from wm.data.episode import Episode
from wm.models import vae
from wm.models.vae import VAE
from wm.runtime import devices


def encoded(model: VAE, episode: Episode, steps: int) -> Episode:
    """The drive with mu and logvar instead of its frames.

    The frames are padded to `steps`, which should be the same for all drives: one shape, one compilation.
    """
    length = episode.record.length
    frames = np.zeros((devices.padded(steps), 64, 64, 3), np.uint8)
    frames[:length] = episode.observations["frame"]
    latents = vae.encode(model, devices.split(jnp.asarray(frames)))
    mu, logvar = (np.asarray(part)[:length] for part in latents)
    return replace(episode, observations={"mu": mu, "logvar": logvar})
