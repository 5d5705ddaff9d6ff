"""The constants of CarRacing-v3 and of the frames that the models see."""

from collections.abc import Sequence

FPS = 50  # frames per second
FRAMES_PER_EPISODE = 1000
FRAME_REWARD = -0.1  # points per frame
FAILURE_REWARD = -100.0  # points for leaving the playfield
LAP_POINTS = 1000.0  # points of all tiles of a track together
SOLVED = 900  # points from which Gymnasium calls the task solved
PAPER_SCORE = 906  # points of Ha & Schmidhuber's agent with z and h, evolved on the real track

ACTION_BOX = ((-1.0, 1.0), (0.0, 1.0), (0.0, 1.0))  # (lowest, highest) of steering, gas and brake
ACTION_SIZE = len(ACTION_BOX)
ACTION_LOW, ACTION_HIGH = zip(*ACTION_BOX, strict=True)

FRAME_SIDE, FRAME_CHANNELS = 64, 3  # of the frames that the models see
FRAME_SHAPE = (FRAME_SIDE, FRAME_SIDE, FRAME_CHANNELS)
FRAME_BYTES = FRAME_SIDE * FRAME_SIDE * FRAME_CHANNELS
MAX_CONVOLUTIONS = 6  # each halves a frame's side


def within(limits: Sequence[Sequence[float]], bounds: Sequence[Sequence[float]]) -> bool:
    """Whether `limits` are pairs (lowest, highest) that lie within `bounds`, pair by pair."""
    return len(limits) == len(bounds) and all(
        len(pair) == 2 and low <= pair[0] <= pair[1] <= high
        for pair, (low, high) in zip(limits, bounds, strict=True)
    )
