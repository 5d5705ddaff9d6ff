"""The published agent on tracks that nobody has driven, and in dreams from their first frames.

    uv run python -m bench.fresh_tracks 33000000 500      # first track, number of tracks

Appends a row to docs/experiments/data/fresh_tracks.csv. A track is fresh once: take seeds that no row has.
"""

import argparse
from typing import Any

from bench import process, tables
from bench.pages import DATA
from bench.results_page import RUN
from bench.runs import commit
from wm.agent import evaluation
from wm.errors import BadInput
from wm.runtime import run
from wm.runtime.places import PRETRAINED
from wm.runtime.workers import Where

TABLE = DATA / "fresh_tracks.csv"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fresh_tracks", description=__doc__)
    parser.add_argument("first", type=int, help="seed of the first track")
    parser.add_argument("tracks", type=int, help="number of tracks")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.tracks)
    expect_fresh(seeds)
    real, _ = evaluation.real(PRETRAINED, seeds, Where("local", 0), sampled=False)
    dream, _ = evaluation.dreamt(PRETRAINED, seeds)
    tables.append(row(seeds, real, dream), TABLE)


def expect_fresh(seeds: range) -> None:
    """Raises BadInput if a row has one of these tracks."""
    for known in tables.rows(TABLE):
        first, tracks = int(known["first_track"]), int(known["tracks"])
        if max(first, seeds.start) < min(first + tracks, seeds.stop):
            raise BadInput(f"{TABLE}: found tracks {first} to {first + tracks - 1}, expected others")


def row(seeds: range, real: dict[str, Any], dream: dict[str, Any]) -> dict[str, object]:
    """The row of these tracks."""
    score = real["score"]
    return {
        "run": RUN,
        "seed": 1,
        "first_track": seeds.start,
        "tracks": len(seeds),
        **{f"real_{key}": round(score[key], 1) for key in ("mean", "std", "median")},
        "real_min": round(score["min"]),
        "laps": real["laps"],
        "lap_frames": round(real["lap_frames"]),
        "below_600": real["below_600"],
        "dream_mean": round(dream["score"]["mean"], 1),
        "dream_std": round(dream["score"]["std"], 1),
        "source": "bench.fresh_tracks",
        "commit": commit(),
    }


if __name__ == "__main__":
    process.set_up()
    run.run(main)
