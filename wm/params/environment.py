"""The section `environment`."""

from pydantic import Field

from wm.params.section import Section
from wm.spec import FRAMES_PER_EPISODE


class Environment(Section):
    """How agents act in CarRacing-v3."""

    action_repeat: int = Field(ge=1, le=FRAMES_PER_EPISODE)
    """frames that each action is held for"""
    warm_up_frames: int = Field(ge=0, lt=FRAMES_PER_EPISODE)
    """frames of the opening zoom, driven straight at half gas, before the agent takes over"""

    @property
    def max_steps(self) -> int:
        """Steps of the longest possible drive."""
        return -(-(FRAMES_PER_EPISODE - self.warm_up_frames) // self.action_repeat)
