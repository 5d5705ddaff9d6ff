"""Speed of evaluation, the published agent on real tracks: `uv run python -m bench.drives`.

The limit is the same actions on the same tracks without the agent.
"""

import time

from bench import process
from bench.scale import PRETRAINED, TIMING
from bench.timing import Row, show
from wm.agent import driving
from wm.agent.drive import Drive
from wm.agent.folder import AgentFolder
from wm.data.episode import Episode
from wm.params.compute import LOCAL
from wm.runtime import workers
from wm.runtime.workers import Where
from wm.track.real_track import RealTrack

FIRST_TRACK, TRACKS = 920_000_000, 100  # not used by any stage


def rows() -> list[Row]:
    """Drives per minute, the start of the processes included."""
    drives = [Drive(FIRST_TRACK + i) for i in range(TRACKS)]
    began = time.perf_counter()
    episodes = list(driving.drive_all(AgentFolder(PRETRAINED).files, drives, TIMING, "bench", Where(LOCAL)))
    driven = time.perf_counter() - began
    began = time.perf_counter()
    with workers.pool(LOCAL) as pool:
        list(workers.ordered(pool, repeat, episodes))
    limit = "the tracks alone", 60 * TRACKS / (time.perf_counter() - began)
    return [Row("evaluation", "drives per minute", 60 * TRACKS / driven, "", 0.0, *limit)]


def repeat(episode: Episode) -> None:
    """Repeats an episode's actions on its track."""
    track = RealTrack(TIMING.action_repeat, TIMING.warm_up_frames)
    track.reset(episode.record.seed)
    for action in episode.actions:
        track.step(action)


if __name__ == "__main__":
    process.set_up()
    show(rows())
