"""Runs `dvc repro` and prints how many minutes each stage took, as CSV.

    uv run python -m bench.stage_minutes > minutes.csv

A stage's time runs from its line "Running stage" to the next one, so start-up and DVC's own work count.
Stages that DVC skips have no line and take no time.
"""

import csv
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable

from bench import process

STARTED = re.compile(r"Running stage '([\w@-]+)'")


def main() -> None:
    process = subprocess.Popen(
        ["dvc", "repro"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    assert process.stdout is not None
    seconds = durations((line, time.monotonic()) for line in shown(process.stdout))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["stage", "minutes"])
    writer.writerows([name, f"{value / 60:.2f}"] for name, value in seconds.items())
    sys.exit(process.wait())


def shown(lines: Iterable[str]) -> Iterable[str]:
    """The same lines, also written to standard error; one more marks the end."""
    for line in lines:
        sys.stderr.write(line)
        yield line
    yield ""


def durations(lines: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Seconds of each stage, the rounds of one stage added up, from lines and the times they appeared."""
    seconds: dict[str, float] = defaultdict(float)
    stage, since, now = "", 0.0, 0.0
    for line, now in lines:
        if found := STARTED.match(line):
            if stage:
                seconds[stage] += now - since
            stage, since = found[1].partition("@")[0], now
    if stage:
        seconds[stage] += now - since
    return dict(seconds)


if __name__ == "__main__":
    process.set_up()
    main()
