"""V, M and C together: from frames to actions, many drives side by side."""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from wm.models.controller import Controller, Snapshots
from wm.models.rnn import RNN, Ensemble, Memory
from wm.models.vae import VAE
from wm.params import file, section
from wm.params.environment import Environment
from wm.runtime import files, model_file
from wm.spec import ACTION_HIGH, ACTION_LOW

LOWEST = np.array(ACTION_LOW, np.float32)


HIGHEST = np.array(ACTION_HIGH, np.float32)


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
        chance: Float[Array, "batch latent"] | None = None,
    ) -> tuple[Float[Array, "batch action"], Memory, Float[Array, "batch latent"]]:
        """Actions for frames, the memories after them, and the latents.

        Those are the encoder's mean, or with `chance`, standard normal, draws, as in dreams.
        """
        z, logvar = jax.vmap(self.vae.encode)(frames)
        z = z if chance is None else z + jnp.exp(logvar / 2) * chance
        stacked = self.controller.bias.ndim == 2
        act = jax.vmap(Controller.__call__, in_axes=(0 if stacked else None, 0, 0))
        action = jnp.clip(act(self.controller, z, memory.hidden) + noise, LOWEST, HIGHEST)
        return action, self.rnn.advance(self.rnn.inputs(z, action), memory), z


@eqx.filter_jit
def _act(
    agent: Agent, frames: Array, memory: Memory, noise: Array, chance: Array | None
) -> tuple[Array, Memory, Array]:
    return agent.act(frames, memory, noise, chance)


@dataclass(frozen=True)
class Models:
    """The files of an agent; `snapshots` only where it explores."""

    vae: Path
    rnn: Path
    controller: Path
    snapshots: Path | None = None

    @staticmethod
    def within(folder: Path) -> "Models":
        """The agent of a folder: vae.eqx, rnn.eqx, controller.eqx."""
        return Models(folder / "vae.eqx", folder / "rnn.eqx", folder / "controller.eqx")

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [path for path in (self.vae, self.rnn, self.controller, self.snapshots) if path]

    @property
    def absolute(self) -> "Models":
        """The same files, for a process that runs elsewhere in the file system."""
        snapshots = self.snapshots and self.snapshots.absolute()
        return Models(self.vae.absolute(), self.rnn.absolute(), self.controller.absolute(), snapshots)

    def load(self) -> Agent:
        """The agent. Raises BadModelFile, for its snapshots and for models that do not fit together, too."""
        agent = Agent(
            model_file.load(self.vae, VAE),
            model_file.load(self.rnn, RNN),
            model_file.load(self.controller, Controller),
        )
        seen = agent.rnn.latent_size + agent.rnn.hidden_size
        model_file.check(self.rnn, "latent_size", agent.rnn.latent_size, agent.vae.latent_size)
        model_file.check(self.controller, "features", agent.controller.weight.shape[-1], seen)
        if self.snapshots:
            snapshots = model_file.load(self.snapshots, Snapshots)
            model_file.check(self.snapshots, "features", snapshots.controllers.weight.shape[-1], seen)
        return agent


def environment(folder: Path) -> Environment:
    """The environment that the agent in `folder` was made for, as its environment.json says.

    Without that file it is the one of params.yaml. Raises BadInput.
    """
    path = folder / "environment.json"
    if path.exists():
        return section.validated(Environment, files.read_json(path), str(path))
    return file.load().environment


def simulators(folder: Path, agent: Agent) -> list[RNN]:
    """The RNNs that make the dreams of the agent in `folder`: its simulators.eqx, or else its own."""
    path = folder / "simulators.eqx"
    if not path.exists():
        return [agent.rnn]
    ensemble = model_file.load(path, Ensemble)
    model_file.check_sizes(path, ensemble.stacked, agent.rnn)
    return ensemble.members or [agent.rnn]
