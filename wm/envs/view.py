"""What an agent observes: its latents or pictures, and their space."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from wm.agent.agent import Agent
from wm.agent.folder import AgentFolder
from wm.dream import playing
from wm.errors import BadInput, listed
from wm.models.vae import VAE
from wm.runtime.places import agent_folder
from wm.spec import FPS, FRAMES_PER_EPISODE, Timing
from wm.track.spaces import frame_space

METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": FPS}
RENDERED_SIDE = 256


@dataclass(frozen=True)
class View:
    """The agent whose latents an environment observes, or whose decoder makes the pictures."""

    folder: AgentFolder
    agent: Agent
    timing: Timing
    pixels: bool

    def __deepcopy__(self, memo: dict[int, Any]) -> "View":
        return self  # nothing in it changes

    @property
    def decoder(self) -> VAE | None:
        """The model that turns latents into observations; None where latents are observed."""
        return self.agent.vae if self.pixels else None

    def timed(self, action_repeat: int | None, warm_up_frames: int | None) -> "View":
        """The view with other frames per action and of the warm-up; None: the agent's. Raises BadInput."""
        own = self.timing
        repeat = own.action_repeat if action_repeat is None else action_repeat
        warm_up = own.warm_up_frames if warm_up_frames is None else warm_up_frames
        _check_frames("action_repeat", repeat, 1)
        _check_frames("warm_up_frames", warm_up, 0)
        return replace(self, timing=Timing(repeat, warm_up))

    @property
    def observation_space(self) -> spaces.Box:
        if self.pixels:
            return frame_space()
        latent, hidden = self.agent.rnn.latent_size, self.agent.rnn.hidden_size
        highest = np.array([playing.Z_LIMIT] * latent + [1.0] * hidden, np.float32)
        return spaces.Box(-highest, highest)

    @property
    def metadata(self) -> dict[str, Any]:
        """Gymnasium's metadata, with the frames per second of a drive at its real speed."""
        return METADATA | {"render_fps": self.timing.steps_per_second}


def load_view(models: str | Path, observation: str, render_mode: str | None) -> View:
    """The view of an agent. Raises BadInput."""
    _check_choice("observation", observation, ("latent", "pixels"))
    _check_choice("render_mode", render_mode, (None, "rgb_array"))
    folder = AgentFolder(agent_folder(models))
    return View(folder, *folder.load(), pixels=observation == "pixels")


def _check_frames(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or not least <= value < FRAMES_PER_EPISODE:
        expected = f"expected a whole number of at least {least} and less than {FRAMES_PER_EPISODE}"
        raise BadInput(f"RealCarRacing: {name}: found {value!r}, {expected}")


def _check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        raise BadInput(f"wm.envs: {name}: found {value!r}, expected one of {listed(choices)}")
