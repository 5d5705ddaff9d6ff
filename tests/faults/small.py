"""A project of the smallest size in which every stage of a round runs, and its stages' outputs."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from wm.params import profiles

ROOT = Path(__file__).parents[2]
TIMEOUT = 300.0  # seconds, for commands that take a few seconds on an idle machine

CHANGES = {
    "environment": {"action_repeat": 40},
    "rounds": {"r0": {"prev": "init"}},
    "collect": {"lane_follower": {"episodes": 24}, "erratic": {"episodes": 3}},
    "process": {"min_score": {"lane_follower": -1000}, "validation_share": 0.3},
    "train_vae": {
        "latent_size": 4,
        "widths": [4, 4, 4, 4],
        "steps": 60,
        "batch_size": 16,
        "shuffle_buffer_episodes": 8,
        "log_every": 20,
        "validation_batches": 1,
    },
    "initialise": {"hidden_size": 8, "mixtures": 2},
    "train_rnn": {
        "first_round_steps": 60,
        "first_round_batch_size": 4,
        "batch_size": 4,
        "first_round_window_steps": 20,
        "window_steps": 20,
        "log_every": 20,
        "validation_episodes": 4,
    },
    "evolve": {
        "search": {"population": 12, "generations": 40},
        "ascent": {"updates": {"from_zero": 2, "refine": 2}, "dreams": 4, "horizon_steps": 4},
        "rollouts": 4,
        "horizon_steps": 8,
        "value_steps": 10,
        "principal_components": 4,
        "start_episodes": 8,
        "starts_per_episode": 4,
        "snapshot_every": 20,
        "score_episodes": 4,
    },
    "evaluate": {"episodes": 12},
    "fidelity": {"plan_steps": 20, "window_steps": 10},
    "explore": {"episodes": 21},
}

STAGES = {
    "collect": ["lane_follower"],
    "process": [],
    "train_vae": [],
    "encode": [],
    "initialise": [],
    "train_rnn": ["r0", "init"],
    "evolve": ["r0", "init"],
    "evaluate": [],
    "explore": ["r0"],
}

OUTPUTS = {
    "collect erratic": ["data/raw/erratic"],
    "collect": ["data/raw/lane_follower"],
    "train_vae": ["models/vae.eqx", "metrics/train_vae.*", "metrics/reconstructions.png"],
    "train_rnn": [
        "models/rounds/r0/rnn.eqx",
        "models/rounds/r0/simulators.eqx",
        "metrics/rounds/r0/train_rnn.*",
    ],
    "evolve": [
        "models/rounds/r0/controller.eqx",
        "models/rounds/r0/snapshots.eqx",
        "metrics/rounds/r0/dream.*",
        "metrics/rounds/r0/evolve.csv",
        "metrics/rounds/r0/searches.json",
    ],
    "evaluate": ["metrics/real.*", "metrics/drive.*"],
    "explore": ["data/raw/r0", "metrics/rounds/r0/explore.*"],
}

# a stage as `python -m stages NAME` runs it, but with a checkpoint after every step
EAGER = """
from stages.__main__ import main
from wm.runtime import checkpoint, interrupt
interrupt.install()
checkpoint.Checkpoints.__init__.__defaults__ = (0.0,)
main()
"""


def params(folder: Path, **changes: dict[str, Any]) -> None:
    """Writes the small project's params.yaml with some sections changed."""
    default = YAML(typ="safe").load(ROOT / "profiles" / "default.yaml")
    content = profiles.merged(profiles.merged(default, CHANGES), changes)
    YAML(typ="safe").dump(content, folder / "params.yaml")


def command(stage: str, *, eager: bool = False) -> list[str]:
    """The command of a stage: "evolve", or with other arguments than in STAGES, "collect erratic"."""
    name, *words = stage.split()
    how = ["-c", EAGER, name] if eager else ["-m", "stages", name]
    return [sys.executable, *how, *(words or STAGES[name])]


def start(folder: Path, words: Sequence[str], **variables: str | None) -> subprocess.Popen[str]:
    """Starts a command in a session of its own; a variable that is None is unset."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.Popen(
        words,
        cwd=folder,
        env={name: value for name, value in environment.items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, words: Sequence[str], **variables: str | None) -> tuple[int, str]:
    """Exit code and standard error of a command."""
    return ended(start(folder, words, **variables))


def ended(running: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and standard error of a process that ends by itself."""
    try:
        return running.wait(TIMEOUT) or 0, running.communicate(timeout=TIMEOUT)[1]
    finally:
        if running.returncode is None:
            os.killpg(running.pid, signal.SIGKILL)


def until(holds: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    """Waits until `holds()`; fails if the process ends first."""
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def gone(group: int, seconds: float) -> bool:
    """Whether a process group has no living member within `seconds`."""
    deadline = time.monotonic() + seconds
    while any(members(group)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def members(group: int) -> list[int]:
    """The living processes of a group, without zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of_group) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def checksums(folder: Path, stage: str) -> dict[str, str]:
    """SHA-256 of every file of a stage's outputs."""
    paths = [path for pattern in OUTPUTS[stage] for path in sorted(folder.glob(pattern))]
    paths = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def leftovers(folder: Path) -> list[str]:
    """Files that no finished stage leaves behind."""
    found = [path for pattern in ("**/*.unfinished", ".scratch/*") for path in folder.glob(pattern)]
    return [str(path) for path in found if not path.name.startswith("compiled-")]


def copy(project: Path, folder: Path, without: str) -> Path:
    """A copy of the project without the outputs of one stage."""
    shutil.copytree(project, folder, dirs_exist_ok=True)
    for pattern in OUTPUTS[without]:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def checkpoint_step(path: Path) -> int:
    """The step of a checkpoint; 0 where there is none."""
    try:
        return json.loads(path.read_bytes().partition(b"\n")[0])["notes"]["step"]
    except (FileNotFoundError, ValueError):
        return 0
