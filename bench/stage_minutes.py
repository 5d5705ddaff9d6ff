"""Runs `dvc repro` and prints how many minutes each stage took, as CSV.

    uv run python -m bench.stage_minutes > minutes.csv
    uv run python -m bench.stage_minutes --folder ../old evaluate@r1    # a clone; until this stage

A stage's time runs from its line "Running stage" to the next one, so start-up and DVC's own work count.
Stages that DVC skips have no line and no row. The first column is the clone's commit.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from bench import process, runs
from wm.runtime import run

STARTED = re.compile(r"Running stage '([\w@-]+)'")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stage_minutes", description=__doc__)
    parser.add_argument("targets", nargs="*", help="stages to run, with those before them; default: all")
    parser.add_argument("--folder", type=Path, default=Path(), help="clone to run; default: this one")
    arguments = parser.parse_args()
    child = repro(arguments.folder, arguments.targets)
    assert child.stdout is not None
    seconds = durations((line, time.monotonic()) for line in shown(child.stdout))
    commit = runs.commit(arguments.folder)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["commit", "stage", "minutes"])
    writer.writerows([commit, name, f"{value / 60:.2f}"] for name, value in seconds.items())
    sys.exit(child.wait())


def repro(folder: Path, targets: list[str]) -> subprocess.Popen[str]:
    """`dvc repro` in the environment of a clone."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return subprocess.Popen(
        ["uv", "run", "dvc", "repro", *targets],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def shown(lines: Iterable[str]) -> Iterable[str]:
    """The same lines, also written to standard error; one more marks the end."""
    for line in lines:
        sys.stderr.write(line)
        yield line
    yield ""


def durations(lines: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Seconds of each stage, from lines and the times they appeared."""
    began: list[tuple[str, float]] = []
    now = 0.0
    for line, now in lines:
        if name := STARTED.match(line):
            began.append((name[1], now))
    ends = [start for _, start in began[1:]] + [now]
    return {stage: end - start for (stage, start), end in zip(began, ends, strict=True)}


if __name__ == "__main__":
    process.set_up()
    run.run(main)
