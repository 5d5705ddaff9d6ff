"""Recomputes what the published run did not record: `python -m bench.recompute_dream`.

The stage `evolve` now writes every dreamt episode to dream.csv and counts those below 600 points; the
published agent's round ran before it did. This script dreams the same episodes again from models/pretrained,
in 20 s on 2 cores. It writes nothing if their mean, standard deviation and median differ from those in
dream.json. Then it writes the files of the stage `report` that follow from the committed metrics.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.random as jr
import numpy as np

from bench import process
from bench.runs import below
from wm.agent import summary
from wm.agent.folder import AgentFolder
from wm.dream import scoring
from wm.dream.scoring import Episodes
from wm.dream.starts import StartFrames
from wm.errors import Halted
from wm.params import file
from wm.params.model import Params
from wm.report import content
from wm.report import summary as report_summary
from wm.runtime import files
from wm.runtime.places import METRICS, PRETRAINED, ROUND_METRICS

ROUND = "r6"
LATER_STARTS = 12  # the last entries of starts.npz: validation drives that the round itself collected


def main() -> None:
    params = file.load()
    write_dream(params)
    for path in (METRICS / "real.json", *sorted(ROUND_METRICS.glob("*/explore.json"))):
        add_below_600(path, below(path.with_suffix(".csv")))
    report_summary.write_metrics(content.from_metrics(list(params.rounds), {}))


def write_dream(params: Params) -> None:
    """The published agent's dreamt episodes in dream.csv, and the number below 600 points in dream.json."""
    path = ROUND_METRICS / ROUND / "dream.json"
    scores = summary.of_scores(np.asarray((episodes := dream(params)).score))
    recorded = files.read_json(path)["score"]
    if scores != recorded:
        raise Halted(f"{path}: found {recorded}, expected the same as again: {scores}")
    files.write_csv(path.with_suffix(".csv"), scoring.rows(episodes))
    add_below_600(path, int((np.asarray(episodes.score) < summary.LOW).sum()))


def dream(params: Params) -> Episodes:
    """The episodes behind the published agent's dream score."""
    folder = AgentFolder(PRETRAINED)
    agent = folder.agent()
    starts = folder.starts(agent.rnn.latent_size)
    settings, before = params.evolve, len(params.rounds_until(ROUND)) - 1
    starts = StartFrames(*(part[:-LATER_STARTS] for part in starts)).draw(
        settings.score_episodes, settings.seed
    )
    key = jr.split(jr.fold_in(jr.key(settings.seed), before), 3)[2]
    return scoring.whole_episodes(folder.dream(agent), agent.controller, starts, key)


def add_below_600(path: Path, count: int) -> None:
    """Adds the number of drives below 600 points to a summary of drives."""
    files.write_json(path, with_below_600(files.read_json(path), count))


def with_below_600(drives: dict[str, Any], count: int) -> dict[str, Any]:
    """The summary with the count where the stages write it, after `failures`."""

    def items() -> Iterator[tuple[str, Any]]:
        for name, value in drives.items():
            if name != "below_600":
                yield name, value
            if name == "failures":
                yield "below_600", count

    return dict(items())


if __name__ == "__main__":
    process.set_up()
    main()
