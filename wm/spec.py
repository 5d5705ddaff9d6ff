"""The constants of CarRacing-v3, of the frames that the models see, and of batches; the timing of drives."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FPS = 50  # frames per second
FRAMES_PER_EPISODE = 1000
FRAME_REWARD = -0.1  # points per frame
FAILURE_REWARD = -100.0  # points for leaving the playfield
LAP_POINTS = 1000.0  # points of all tiles of a track together
TILE_POINTS = 3.5  # points of a tile, on average; tracks have 226 to 359 tiles
SOLVED = 900  # points from which Gymnasium calls the task solved
PAPER_SCORE = 906  # points of Ha & Schmidhuber's agent with z and h, evolved on the real track

ACTION_BOX = ((-1.0, 1.0), (0.0, 1.0), (0.0, 1.0))  # (lowest, highest) of steering, gas and brake
ACTION_SIZE = len(ACTION_BOX)
ACTION_LOW, ACTION_HIGH = zip(*ACTION_BOX, strict=True)

FRAME_SIDE, FRAME_CHANNELS = 64, 3  # of the frames that the models see
FRAME_SHAPE = (FRAME_SIDE, FRAME_SIDE, FRAME_CHANNELS)
FRAME_BYTES = FRAME_SIDE * FRAME_SIDE * FRAME_CHANNELS
DRIVES_PER_BATCH = 32  # drives side by side in the search's memory; incomplete batches are left out
MAX_CONVOLUTIONS = 6  # each halves a frame's side
IDENTITY_CURVE = ((0, 0), (255, 255))  # the tone curve that leaves pixel values as they are
TONE_CURVE_RULE = "points that rise from [0, 0] to [255, 255]"


def idle_reward(action_repeat: int) -> float:
    """Points of a step that visits no tile."""
    return FRAME_REWARD * action_repeat


@dataclass(frozen=True)
class Timing:
    """The frames that each action is held for, and those of the warm-up, before an agent takes over."""

    action_repeat: int
    warm_up_frames: int

    @property
    def max_steps(self) -> int:
        """Steps of the longest possible drive; its last action may be cut short."""
        return -(-(FRAMES_PER_EPISODE - self.warm_up_frames) // self.action_repeat)

    @property
    def steps_per_second(self) -> float:
        """Steps per second of a drive at its real speed."""
        return FPS / self.action_repeat

    @property
    def idle_reward(self) -> float:
        """Points of a step that visits no tile."""
        return idle_reward(self.action_repeat)

    def frames(self, steps: int) -> int:
        """Frames of a drive of so many steps, its warm-up included."""
        return min(self.warm_up_frames + self.action_repeat * steps, FRAMES_PER_EPISODE)

    def frames_of(self, episode: Any) -> int:
        """Frames of an episode of `wm.data`, its warm-up included."""
        return self.frames(episode.record.length)


def within(limits: Sequence[Sequence[float]], bounds: Sequence[Sequence[float]]) -> bool:
    """Whether `limits` are pairs (lowest, highest) that lie within `bounds`, pair by pair."""
    return len(limits) == len(bounds) and all(
        len(pair) == 2 and low <= pair[0] <= pair[1] <= high
        for pair, (low, high) in zip(limits, bounds, strict=True)
    )


def is_tone_curve(points: Sequence[Sequence[int]]) -> bool:
    """Whether `points` (input, output) rise from black to white, in both coordinates."""
    pairs = list(itertools.pairwise(points))
    rises = bool(pairs) and all(a[0] < b[0] and a[1] < b[1] for a, b in pairs)
    return rises and (tuple(points[0]), tuple(points[-1])) == IDENTITY_CURVE
