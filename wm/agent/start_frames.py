"""The first frames of real tracks, from which dreams start."""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np

from wm.agent.agent import Agent
from wm.dream.starts import StartFrames
from wm.models import vae
from wm.spec import Timing
from wm.track.real_track import RealTrack
from wm.track.renderer import shrink


def start_frames(agent: Agent, seeds: Iterable[int], timing: Timing) -> StartFrames:
    """The start frames of the real tracks of `seeds`."""
    track = RealTrack(timing.action_repeat, timing.warm_up_frames)
    observations = map(track.reset, seeds)
    frames, rewards = zip(*((shrink(seen.pixels), seen.reward) for seen in observations), strict=True)
    mu, logvar = vae.encode(agent.vae, jnp.asarray(np.stack(frames)))
    return StartFrames(mu, logvar, jnp.array(rewards))
