"""Controllers of all qualities, on which a ranking in dreams can be tested."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from wm.agent import driving
from wm.agent.agent import Agent
from wm.agent.agent_files import AgentFiles
from wm.agent.drive import Drive
from wm.data.episode import Episode
from wm.models import controller
from wm.models.controller import Controller, Snapshots
from wm.models.rnn import RNN
from wm.runtime import model_file
from wm.runtime.places import ROUND_MODELS, VAE_MODEL
from wm.runtime.workers import Pool
from wm.spec import Timing


def of_all_qualities(
    last: Controller, snapshots: Snapshots, count: int, noise_scales: Sequence[float], key: PRNGKeyArray
) -> dict[str, Controller]:
    """By name: `count` snapshots of the search, spaced geometrically, and the last controller with noise."""
    chosen: dict[str, Controller] = {}
    for i in np.geomspace(1, snapshots.count - 1, count).round().astype(int).tolist():
        chosen[f"snapshot_{i}"] = jax.tree.map(lambda leaf, i=i: leaf[i], snapshots.controllers)
    for i, scale in enumerate(noise_scales):
        chosen[f"noise_{scale}"] = perturbed(last, scale, jr.fold_in(key, i))
    return chosen


def perturbed(last: Controller, scale: float, key: PRNGKeyArray) -> Controller:
    """The controller with noise on its parameters, `scale` times their root mean square."""
    parameters = last.parameters
    size = scale * jnp.sqrt(jnp.mean(parameters**2))
    return last.with_parameters(parameters + size * jr.normal(key, parameters.shape))


@dataclass(frozen=True)
class RoundControllers:
    """A round's agent, its own RNN, and its controllers of all qualities by name."""

    agent: AgentFiles
    watcher: RNN
    controllers: dict[str, Controller]

    def __len__(self) -> int:
        return len(self.controllers)

    def drive(
        self, pool: Pool, stored: Path, seeds: Sequence[int], timing: Timing, report: Callable[[int], None]
    ) -> Iterator[Episode]:
        """The drives of each controller on each track, controller by controller, which are stored in a file.

        `report` is called as by `driving.drive_all`.
        """
        model_file.save(stored, controller.snapshots(list(self.controllers.values())))
        shares = np.linspace(0, 1, len(self)).tolist()
        drives = [Drive(seed, snapshot=share) for share in shares for seed in seeds]
        agent = replace(self.agent, snapshots=stored)
        yield from driving.drive_in(pool, agent, drives, timing, "controllers", report)


def read(round_name: str, count: int, noise_scales: Sequence[float], key: PRNGKeyArray) -> RoundControllers:
    """A round's controllers of all qualities. Raises BadInput, also for files that do not fit together."""
    folder = ROUND_MODELS / round_name
    agent = AgentFiles(VAE_MODEL, *(folder / f"{part}.eqx" for part in ("rnn", "controller", "snapshots")))
    models = Agent.load(agent)
    snapshots = model_file.load(folder / "snapshots.eqx", Snapshots)
    controllers = of_all_qualities(models.controller, snapshots, count, noise_scales, key)
    return RoundControllers(agent, models.rnn, controllers)
