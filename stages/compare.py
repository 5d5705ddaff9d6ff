"""A round's dream and real scores in one file, for the report: `python -m stages.compare r0`.

`metrics` holds the report itself, so the report cannot depend on that folder; it depends on this one.
"""

import sys
from pathlib import Path

from wm import config, files

METRICS, SCORES = Path("metrics"), Path("data/scores")


def main(round_name: str) -> None:
    worlds = ("dream", "real")
    scores = {world: files.read_json(METRICS / round_name / f"{world}.json")["score"] for world in worlds}
    files.write_json(SCORES / f"{round_name}.json", scores)


if __name__ == "__main__":
    config.run(main, *sys.argv[1:])
