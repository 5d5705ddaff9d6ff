"""Kills the smoke pipeline at random moments and checks that it finishes with the same bytes.

    uv run python -m bench.chaos

Two fresh clones run `dvc repro`: one undisturbed, one whose whole process group is killed (SIGKILL) at
random moments and rerun each time. Then every file that the stages wrote is compared.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench import process

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "1",
}
REPRO = (sys.executable, "-m", "dvc", "repro")
TRIES = 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        quiet, disturbed = (clone(Path(scratch, name)) for name in ("quiet", "disturbed"))
        began = time.monotonic()
        run(quiet, *REPRO)
        undisturbed = time.monotonic() - began
        print(f"undisturbed: {undisturbed:.0f} s", flush=True)
        seconds = chaos(disturbed, arguments.kills, arguments.seed, undisturbed)
        wanted, found = checksums(quiet), checksums(disturbed)
    differ = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    print(f"kills survived: {len(seconds) - 1}")
    print(f"work repeated: {sum(seconds) - undisturbed:.0f} s, including DVC's own start-up in each run")
    print(f"outputs compared: {len(wanted)}, different: {len(differ)}", *differ, sep="\n  ")
    sys.exit(bool(differ) or len(seconds) <= arguments.kills)


def chaos(folder: Path, kills: int, seed: int, undisturbed: float) -> list[float]:
    """The seconds that each run took; all but the last one were killed."""
    rng, seconds = np.random.default_rng(seed), []
    for attempt in range(TRIES):
        timeout = rng.uniform(0, 1.5 * undisturbed / kills) if attempt < kills else None
        began = time.monotonic()
        finished = finishes(folder, timeout)
        seconds.append(time.monotonic() - began)
        print(f"run {attempt + 1}: {seconds[-1]:.0f} s, {'finished' if finished else 'killed'}", flush=True)
        if finished:
            break
    return seconds


def finishes(folder: Path, timeout: float | None) -> bool:
    """Whether `dvc repro` finishes within `timeout` seconds; otherwise all of its processes are killed."""
    with subprocess.Popen(
        REPRO,
        cwd=folder,
        env=ENVIRONMENT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as running:
        try:
            output, _ = running.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
            return False
    if running.returncode:
        raise SystemExit(f"dvc repro failed after a kill:\n{output.decode()[-4000:]}")
    return True


def run(folder: Path, *command: str) -> str:
    """What the command printed. Raises AssertionError with its output if it fails."""
    ended = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
    return ended.stdout


def clone(path: Path) -> Path:
    """A fresh clone of the last commit, with the smoke profile."""
    run(ROOT, "git", "clone", "--quiet", str(ROOT), str(path))
    run(path, sys.executable, "-m", "wm.cli", "profile", "smoke")
    run(path, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "smoke")
    return path


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that the stages wrote."""
    paths = [
        path
        for top in ("data", "models", "metrics")
        for path in sorted((folder / top).rglob("*"))
        if path.is_file() and path.name != ".gitignore" and "pretrained" not in path.parts
    ]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


if __name__ == "__main__":
    process.set_up()
    main()
