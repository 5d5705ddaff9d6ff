"""CarRacing-v3's actions, and the frames that the models see, as Gymnasium spaces."""

import numpy as np
from gymnasium import spaces

from wm.spec import ACTION_HIGH, ACTION_LOW, FRAME_SHAPE


def action_space() -> spaces.Box:
    """Steering in [-1, 1], gas and brake in [0, 1], float32, as in CarRacing-v3."""
    return spaces.Box(np.array(ACTION_LOW, np.float32), np.array(ACTION_HIGH, np.float32))


def frame_space() -> spaces.Box:
    """RGB frames, 64 x 64, uint8."""
    return spaces.Box(0, 255, FRAME_SHAPE, np.uint8)
