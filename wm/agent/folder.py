"""The folder of an agent: its models, and how it drives and dreams."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wm.agent.agent import Agent
from wm.agent.agent_files import AgentFiles
from wm.dream.dynamics import Dream
from wm.dream.results import AgentDream
from wm.dream.rules import Rules
from wm.dream.starts import StartFrames, read_starts
from wm.errors import BadInput
from wm.models import rnn_files
from wm.models.rnn import RNN
from wm.params import file, section
from wm.params.environment import Environment
from wm.runtime import files, places, results
from wm.spec import Timing


class LoadedAgent(NamedTuple):
    """An agent and the timing of its drives, as the environments load them."""

    agent: Agent
    """V, M and C: `vae`, `rnn` and `controller`"""
    timing: Timing
    """frames per action, and of the warm-up before an episode's first observation"""


def load_agent(models: str | Path = places.PUBLISHED) -> LoadedAgent:
    """The agent in a folder, by default the published one. Raises BadInput and BadModelFile.

    >>> import gymnasium, numpy as np, wm
    >>> agent, timing = wm.load_agent()
    >>> track = gymnasium.make("wm.envs:RealCarRacing-v0")
    >>> z, hidden = np.split(track.reset(seed=1)[0], [agent.vae.latent_size])
    >>> observation, reward, *_ = track.step(np.asarray(agent.controller(z, hidden)))
    """
    return AgentFolder(places.agent_folder(models)).load()


@dataclass(frozen=True)
class AgentFolder:
    """A folder with vae.eqx, rnn.eqx and controller.eqx, or that of a round, models/rounds/NAME. The other
    files may be missing, except starts.npz, which the playable dream and the web page need."""

    path: Path

    @property
    def files(self) -> AgentFiles:
        """The model files."""
        return AgentFiles(*(places.agent_file(self.path, name) for name in places.AGENT_MODELS))

    def agent(self) -> Agent:
        """The agent. Raises BadModelFile."""
        return Agent.load(self.files)

    def load(self) -> LoadedAgent:
        """The agent and its timing. Raises BadInput and BadModelFile."""
        return LoadedAgent(self.agent(), self.timing())

    def timing(self) -> Timing:
        """The timing in environment.json, or without that file in params.yaml. Raises BadInput."""
        path = self.path / "environment.json"
        if path.exists():
            return section.validated(Environment, files.read_json(path), str(path)).timing
        return file.timing()

    def simulators(self, agent: Agent) -> list[RNN]:
        """The RNNs that generate dreams: those in simulators.eqx, if any, and the agent's own. Raises
        BadModelFile."""
        if not (self.path / "simulators.eqx").exists():
            return [agent.rnn]
        return rnn_files.beside(agent.rnn, self.path).simulators

    def rules(self, latent_size: int) -> Rules:
        """The rules in dream.json, by which the agent was evolved.

        Without them: temperature 1, latents sampled from the mixture, and the environment's action repeat.
        Raises BadInput, also for rules of another number of latent dimensions.
        """
        path = places.agent_file(self.path, "dream.json")
        rules = results.read(path, AgentDream).rules if path.exists() else None
        if rules is None:
            repeat = self.timing().action_repeat
            return Rules(temperature=1.0, stuck_steps=0, action_repeat=repeat)
        if rules.denoised and len(rules.encoder_variance) != latent_size:
            found = f"{path}: rules.encoder_variance: found {len(rules.encoder_variance)} numbers"
            raise BadInput(f"{found}, expected {latent_size}, one per latent dimension")
        return rules

    def dream(self, agent: Agent) -> Dream:
        """What the agent's dreams are made of. Raises BadInput and BadModelFile."""
        rules = self.rules(agent.rnn.latent_size)
        return Dream(self.simulators(agent), agent.rnn, rules, self.timing().warm_up_frames)

    def starts(self, latent_size: int) -> StartFrames:
        """The start frames in starts.npz. Raises BadInput."""
        return read_starts(self.path / "starts.npz", latent_size)
