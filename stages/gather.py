"""A round's figures in one folder, for the report over all rounds: `python -m stages gather r0`.

dvc.yaml cannot name the files of every round as one stage's dependencies, but it can name the folder that
holds them all.
"""

import shutil
from pathlib import Path

from wm.errors import BadInput
from wm.params.model import Params
from wm.runtime import files

METRICS, FIGURES = Path("metrics"), Path("data/figures")
NAMES = (
    "dream.json",
    "drive.png",
    "drive.webm",
    "evolve.csv",
    "exploitation.csv",
    "fidelity.json",
    "real.csv",
    "real.json",
    "train_rnn.csv",
)


def main(params: Params, round_name: str) -> None:
    params.rounds_until(round_name)  # a name of params.yaml, no path out of the folder
    with files.replacing(FIGURES / round_name) as folder:
        folder.mkdir()
        for name in NAMES:
            copy(METRICS / round_name / name, folder / name)


def copy(source: Path, target: Path) -> None:
    """Copies a file. Raises BadInput where it is missing."""
    if not source.exists():
        raise BadInput(
            f"{source}: not found, wanted a figure of the round. Run `dvc checkout` or `dvc repro`."
        )
    shutil.copyfile(source, target)
