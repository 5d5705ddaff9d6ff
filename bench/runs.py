"""Appends the rounds of the last `dvc repro` to docs/runs.csv, one row per round.

    uv run python -m bench.runs NAME --seed 1 --note "what differs from the default"

Scores, losses and the chosen round come from metrics/, the action repeat from params.yaml, and the commit
from git. Real scores are those of the evaluation for the chosen round, those of exploring drives for the
others. The number of real drives is counted in data/latents and left empty where that folder is missing.
Minutes are those from the start of `dvc repro` to the end of a round's drives; they are left empty where
`dvc repro` was interrupted or skipped a stage.
"""

import argparse
import subprocess
from pathlib import Path
from typing import Any

from bench import process, tables
from wm.agent.summary import LOW
from wm.errors import BadInput
from wm.params import file
from wm.report import model_card
from wm.runtime import files, places, run, stage_log

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "docs" / "runs.csv"
METRICS = Path("metrics")
GAP_SECONDS = 60  # between two stages of one `dvc repro`
COLUMNS = [
    "run",
    "seed",
    "round",
    "profile",
    "action_repeat",
    "nll",
    "simulator_nll",
    "simulator_reward_error",
    "simulator_missed_error",
    "dream_sampling",
    "dream_mean",
    "dream_std",
    "dream_laps",
    "dream_lap_frames",
    "real_mean",
    "real_std",
    "real_median",
    "real_min",
    "real_max",
    "tracks",
    "laps",
    "lap_frames",
    "missed_tiles",
    "below_600",
    "real_drives",
    "real_frames",
    "minutes",
    "published",
    "note",
    "source",
    "commit",
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.runs", description=__doc__)
    parser.add_argument("name", help="name of the run")
    parser.add_argument("--seed", default="1", help="label of the seeds used; default 1")
    parser.add_argument("--profile", default="default", help="profile of params.yaml; default: default")
    parser.add_argument("--note", default="", help="what differs from the default params")
    parser.add_argument("--table", type=Path, default=RUNS, help="CSV file to append to")
    arguments = parser.parse_args()
    labels = {"run": arguments.name, "seed": arguments.seed, "profile": arguments.profile}
    measured = rows(METRICS, labels | {"note": arguments.note, "source": "metrics", "commit": commit()})
    existing = tables.rows(arguments.table) if arguments.table.exists() else []
    if any((row["run"], row["seed"]) == (arguments.name, arguments.seed) for row in existing):
        raise BadInput(
            f"{arguments.table}: found rows of run {arguments.name!r} with seed {arguments.seed}, "
            "expected none; choose another name or remove them"
        )
    for row in measured:
        tables.append(row, arguments.table)
    print(f"{arguments.table}: {len(measured)} rows appended")


def rows(metrics: Path, labels: dict[str, str]) -> list[dict[str, object]]:
    """One row per round of params.yaml, with these labels."""
    params = file.load()
    ranks = metrics / "ranks.json"
    chosen = files.read_json(ranks)["chosen"] if ranks.exists() else None
    return [
        labelled(
            labels
            | {"round": name, "action_repeat": params.environment.action_repeat}
            | scores(metrics / "rounds" / name, metrics / "real" if name == chosen else None)
            | real_data(round_.prev)
            | minutes(name)
            | {"published": "yes" if name == chosen else ""}
        )
        for name, round_ in params.rounds.items()
    ]


def labelled(values: dict[str, Any]) -> dict[str, object]:
    """A row with all columns, empty where there is no value."""
    return {column: values.get(column, "") for column in COLUMNS}


def scores(folder: Path, evaluation: Path | None = None) -> dict[str, Any]:
    """Losses of M and scores in dream and reality of one round's metrics folder.

    The real scores are in the files `evaluation`.json and .csv, or without it in the folder's explore.json.
    """
    drives = evaluation or folder / "explore"
    paths = (folder / "train_rnn", folder / "dream", drives)
    losses, dream, real = (files.read_json(path.with_suffix(".json")) for path in paths)
    simulator = losses.get("simulator_0", {})
    return {
        "nll": losses["rnn"]["nll"],
        "simulator_nll": simulator.get("nll", ""),
        "simulator_reward_error": simulator.get("reward_error", ""),
        "simulator_missed_error": simulator.get("missed_error", ""),
        "dream_sampling": dream["rules"].get("sampling", "sampled"),
        "dream_mean": dream["score"]["mean"],
        "dream_std": dream["score"]["std"],
        "dream_laps": dream["laps"],
        "dream_lap_frames": dream.get("lap_frames", ""),
        **{f"real_{key}": real["score"][key] for key in ("mean", "std", "median", "min", "max")},
        "tracks": real["score"]["n"],
        "laps": real["laps"],
        "lap_frames": real.get("lap_frames", ""),
        "missed_tiles": real["missed"],
        "below_600": below(drives.with_suffix(".csv")),
    }


def below(path: Path) -> int:
    """Number of drives below 600 points in a CSV file of scores."""
    return sum(float(row["score"]) < LOW for row in tables.rows(path))


def real_data(prev: str) -> dict[str, int]:
    """Real drives and frames that the round's V and M were trained on, if they are on this machine."""
    if not (places.LATENTS / prev).exists():
        return {}
    drives, frames = model_card.real_data(prev, file.timing())
    return {"real_drives": drives, "real_frames": frames}


def minutes(round_name: str) -> dict[str, str]:
    """Minutes until the round's agent had driven, if one `dvc repro` ran all stages until then."""
    notes = stage_log.notes()
    if not (drives := notes.get(f"explore@{round_name}")):
        return {}
    until = sorted(note for note in notes.values() if note.began <= drives.began)
    if not all(note.whole and note.seconds for note in until):
        return {}
    ends = [note.began + (note.seconds or 0.0) for note in until]
    gaps = [later.began - end for later, end in zip(until[1:], ends[:-1], strict=True)]
    return (
        {"minutes": f"{(ends[-1] - until[0].began) / 60:.1f}"} if max(gaps, default=0) < GAP_SECONDS else {}
    )


def commit(clone: Path = ROOT) -> str:
    """Abbreviated hash of the commit that is checked out; empty outside a git repository."""
    command = ["git", "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(command, cwd=clone, check=False, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    process.set_up()
    run.run(main)
