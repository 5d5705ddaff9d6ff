"""V, M and C together: from frames to actions, many drives side by side."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from wm import model_file
from wm.car_racing import shrink
from wm.controller import Controller
from wm.rnn import RNN, Memory
from wm.vae import VAE

LOWEST = np.array([-1, 0, 0], np.float32)
HIGHEST = np.ones(3, np.float32)


class Agent(eqx.Module):
    """The three models; `controller` may have a leading axis, one for each drive."""

    vae: VAE
    rnn: RNN
    controller: Controller

    def act(
        self,
        frames: UInt8[Array, "batch height width channel"],
        memory: Memory,
        noise: Float[Array, "batch action"],
    ) -> tuple[Float[Array, "batch action"], Memory, Float[Array, "batch latent"]]:
        """Actions for frames, the memories after them, and the latents (the encoder's mean)."""
        z, _ = jax.vmap(self.vae.encode)(frames)
        stacked = self.controller.bias.ndim == 2
        act = jax.vmap(Controller.__call__, in_axes=(0 if stacked else None, 0, 0))
        action = jnp.clip(act(self.controller, z, memory.hidden) + noise, LOWEST, HIGHEST)
        return action, self.rnn.advance(self.rnn.inputs(z, action), memory), z


@eqx.filter_jit
def _act(agent: Agent, frames: Array, memory: Memory, noise: Array) -> tuple[Array, Memory, Array]:
    return agent.act(frames, memory, noise)


def load(vae: Path, rnn: Path, controller: Path) -> Agent:
    """The agent of three model files. Raises BadModelFile."""
    return Agent(
        model_file.load(vae, VAE),
        model_file.load(rnn, RNN),
        model_file.load(controller, Controller),
    )


class Seats:
    """An agent at the wheel of several cars at once; remembers each drive from its start."""

    def __init__(self, agent: Agent, noise: list[np.random.Generator | None], scale: float) -> None:
        """`noise`: for each car the generator of its action noise (normal, `scale`), or None."""
        self.agent, self.noise, self.scale = agent, noise, scale
        self.memory = agent.rnn.start(len(noise))

    def act(self, pixels: list[UInt8[np.ndarray, "96 96 3"]]) -> Float[np.ndarray, "batch 3"]:
        """The next action of each car."""
        frames = np.stack([shrink(one) for one in pixels])
        noise = np.zeros((len(pixels), 3), np.float32)
        for row, rng in enumerate(self.noise):
            if rng is not None:
                noise[row] = rng.normal(scale=self.scale, size=3)
        actions, self.memory, _ = _act(self.agent, jnp.asarray(frames), self.memory, noise)
        return np.asarray(actions)
