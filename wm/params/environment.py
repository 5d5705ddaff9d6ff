"""The section `environment`."""

from pydantic import Field

from wm.params.section import Section
from wm.spec import FRAMES_PER_EPISODE, Timing


class Environment(Section):
    """How agents act in CarRacing-v3."""

    action_repeat: int = Field(ge=1, le=FRAMES_PER_EPISODE)
    """frames that each action is held for"""
    warm_up_frames: int = Field(ge=0, lt=FRAMES_PER_EPISODE)
    """frames of the opening zoom, driven straight at half gas, before the agent takes over"""

    @property
    def timing(self) -> Timing:
        """The same numbers, as the library takes them."""
        return Timing(self.action_repeat, self.warm_up_frames)
