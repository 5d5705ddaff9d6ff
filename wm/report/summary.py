"""metrics/summary/: the few numbers by which people compare two runs, as DVC's metrics commands show them.

DVC prints a file per row and a name per column, so a statistic is a file that sets dream beside reality.
Names that occur in one file alone, those of score.json, are columns of `dvc exp show` without their path.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm.agent.summary import IMPOSSIBLE
from wm.report.content import ChosenResults, Content, score_rows
from wm.report.numbers import simulator_losses
from wm.runtime import files
from wm.runtime.places import METRICS
from wm.runtime.results import DriveSummary


def write_metrics(content: Content) -> None:
    """Writes what follows from the committed metrics: the table and chart of the rounds, and the summary."""
    files.write_csv(METRICS / "rounds.csv", score_rows(content.rounds))
    write(METRICS / "summary", content)
    files.write_bytes(METRICS / "rounds.png", content.rounds_figure)


def write(folder: Path, content: Content) -> None:
    """Replaces the files in `folder` by those of `content`."""
    with files.replacing(folder) as unfinished:
        unfinished.mkdir()
        for name, values in summary(content).items():
            (unfinished / f"{name}.json").write_text(files.json_text(values), encoding="utf-8")


def summary(content: Content) -> dict[str, dict[str, Any]]:
    """The files' content by name. Scores in points; dream and real are the published agent's, `round_*` those
    of each round's exploring drives."""
    chosen = content.chosen
    dream, real = chosen.dream.score.mean, chosen.real.score.mean
    return {
        "score": {
            "dream": dream,
            "real": real,
            "gap": round(dream - real, 2),
            "gap_percent": round(100 * (dream - real) / max(abs(real), 1e-9), 2),
            "rank_correlation": content.rank_correlation,
            "impossible_dreams": sum(results.dream.score.mean > IMPOSSIBLE for results in content.rounds),
        },
        **in_dream_and_reality(statistics(chosen.dream), statistics(chosen.real)),
        "loss_vae": {"loss": round(float(content.train_vae[-1]["loss"]), 4)},
        **rnn_losses(chosen),
        **in_dream_and_reality(
            {f"round_{results.name}": results.dream.score.mean for results in content.rounds},
            {f"round_{results.name}": results.real.score.mean for results in content.rounds},
        ),
    }


def statistics(drives: DriveSummary) -> dict[str, Any]:
    """How the drives of one world are distributed."""
    return {
        "std": drives.score.std,
        "median": drives.score.median,
        "laps": drives.laps,
        "lap_frames": drives.lap_frames,
        "below_600": drives.below_600,
    }


def in_dream_and_reality(dream: Mapping[str, Any], real: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A file per statistic; values that are not known, such as frames of no lap, are left out."""
    pairs = {name: {"in_dream": value, "in_reality": real[name]} for name, value in dream.items()}
    known = {
        name: {world: value for world, value in pair.items() if value is not None}
        for name, pair in pairs.items()
    }
    return {name: pair for name, pair in known.items() if pair}


def rnn_losses(results: ChosenResults) -> dict[str, dict[str, float]]:
    """Validation losses of the RNNs at the end of the round's training; the simulators' is their mean."""
    last = results.train_rnn[-1]
    simulators = [float(last[name]) for name in simulator_losses(last)]
    losses = {"loss_rnn": {"loss": round(float(last["loss"]), 4)}}
    if simulators:
        losses["loss_simulator"] = {"loss": round(sum(simulators) / len(simulators), 4)}
    return losses
