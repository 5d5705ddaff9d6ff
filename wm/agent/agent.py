"""The agent: V, M and C together, from frames to actions for many drives at once."""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from wm.models import latent
from wm.models.controller import Controller, Snapshots
from wm.models.rnn import RNN, Memory
from wm.models.vae import VAE
from wm.runtime import model_file, startup
from wm.spec import ACTION_HIGH, ACTION_LOW


class Agent(eqx.Module):
    """The three models; `controller` may have a leading axis, with one controller per drive."""

    vae: VAE
    rnn: RNN
    controller: Controller

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


@dataclass(frozen=True)
class AgentFiles:
    """The model files of an agent; `snapshots` only for exploration."""

    vae: Path
    rnn: Path
    controller: Path
    snapshots: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [path for path in (self.vae, self.rnn, self.controller, self.snapshots) if path]

    @property
    def absolute(self) -> "AgentFiles":
        """The same files, for a process with another working directory."""
        snapshots = self.snapshots and self.snapshots.absolute()
        return AgentFiles(self.vae.absolute(), self.rnn.absolute(), self.controller.absolute(), snapshots)

    def load(self) -> Agent:
        """The agent. Raises BadModelFile, also for damaged snapshots and for models of different sizes."""
        startup.check_jax()
        agent = Agent(
            model_file.load(self.vae, VAE),
            model_file.load(self.rnn, RNN),
            model_file.load(self.controller, Controller),
        )
        features = agent.rnn.latent_size + agent.rnn.hidden_size
        model_file.check(self.rnn, "latent_size", agent.rnn.latent_size, agent.vae.latent_size)
        model_file.check(self.controller, "features", agent.controller.weight.shape[-1], features)
        if self.snapshots and (snapshots := self.load_snapshots()):
            model_file.check(self.snapshots, "features", snapshots.controllers.weight.shape[-1], features)
        return agent

    def load_snapshots(self) -> Snapshots | None:
        """The snapshots, if there is a file of them. Raises BadModelFile."""
        return model_file.load(self.snapshots, Snapshots) if self.snapshots else None
