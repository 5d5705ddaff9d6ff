"""A drive as pictures: what was seen, its reconstruction, and what the RNN had expected."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from wm import mdn, rnn
from wm.agent import Agent
from wm.episodes import Episode
from wm.pictures import captioned, enlarged, to_bytes

SIDE = 192


def shots(agent: Agent, episode: Episode) -> list[UInt8[np.ndarray, "height width 3"]]:
    """A picture a step: real frame | reconstruction | expectation from the step before."""
    frames = episode.observations["frame"]
    decoded, expected, rewards = _decode(agent, jnp.asarray(frames), jnp.asarray(episode.actions))
    scores = episode.record.warm_up_reward + np.cumsum(episode.rewards)
    pictures = []
    for step, (frame, score) in enumerate(zip(frames, scores, strict=True)):
        row = [frame, to_bytes(decoded[step]), to_bytes(expected[step])]
        picture = np.concatenate([enlarged(one, SIDE) for one in row], axis=1)
        text = f"step {step}  score {score:.0f}  expected reward {rewards[step]:+.1f}"
        steering, gas, brake = episode.actions[step]
        text += f"  steering {steering:+.2f}  gas {gas:.2f}  brake {brake:.2f}"
        pictures.append(captioned(picture, text))
    return pictures


@eqx.filter_jit
def _decode(agent: Agent, frames: jax.Array, actions: jax.Array) -> tuple[jax.Array, ...]:
    z, _ = jax.vmap(agent.vae.encode)(frames)
    hidden = rnn.unroll(agent.rnn, z[None], actions[None]).hidden[:, 0]
    expected = agent.rnn.predict(hidden)
    # the first frame was expected by nobody
    forward = jnp.concatenate([z[:1], mdn.expectation(expected.mixture)[:-1]])
    decode = jax.vmap(agent.vae.decode)
    return decode(z), decode(forward), expected.reward


def strip(pictures: list[UInt8[np.ndarray, "height width 3"]], count: int = 6) -> np.ndarray:
    """`count` moments of a drive, evenly spaced, as one picture: two columns, read downwards."""
    moments = [pictures[i] for i in np.linspace(0, len(pictures) - 1, count).astype(int)]
    half = count // 2
    columns = [np.concatenate(moments[:half]), np.concatenate(moments[half : 2 * half])]
    return np.concatenate(columns, axis=1)
