"""The agent: V, M and C together, from frames to actions for many drives at once."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from wm.agent.agent_files import AgentFiles
from wm.models import latent
from wm.models.controller import Controller
from wm.models.rnn import RNN, Memory
from wm.models.vae import VAE
from wm.runtime import model_file, startup
from wm.spec import ACTION_HIGH, ACTION_LOW


class Agent(eqx.Module):
    """The three models; `controller` may have a leading axis, with one controller per drive."""

    vae: VAE
    rnn: RNN
    controller: Controller

    @classmethod
    def load(cls, files: AgentFiles) -> "Agent":
        """The agent in the files. Raises BadModelFile, also for damaged snapshots and for models of different
        sizes."""
        startup.check_jax()
        agent = cls(
            model_file.load(files.vae, VAE),
            model_file.load(files.rnn, RNN),
            model_file.load(files.controller, Controller),
        )
        files.check()
        return agent

    def act(
        self,
        frames: UInt8[Array, "batch height width channel"],
        memory: Memory,
        action_noise: Float[Array, "batch action"],
        latent_noise: Float[Array, "batch latent"] | None = None,
    ) -> tuple[Float[Array, "batch action"], Memory, Float[Array, "batch latent"]]:
        """Actions for the frames, the memories after them, and the latents.

        The latents are the encoder's mean, or with standard normal `latent_noise` samples from its
        distribution, as M is trained on.
        """
        z, logvar = jax.vmap(self.vae.encode)(frames)
        z = z if latent_noise is None else latent.with_noise(z, logvar, latent_noise)
        one_each = self.controller.bias.ndim == 2
        act = jax.vmap(Controller.__call__, in_axes=(0 if one_each else None, 0, 0))
        action = act(self.controller, z, memory.hidden) + action_noise
        action = jnp.clip(action, jnp.asarray(ACTION_LOW), jnp.asarray(ACTION_HIGH))
        return action, self.rnn.advance(self.rnn.inputs(z, action), memory), z
