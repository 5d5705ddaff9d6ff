"""The smoke pipeline, killed again and again: does it finish, and with the same bytes?

    uv run python -m bench.chaos

Two fresh clones run `dvc repro`: one undisturbed, one whose whole process group is killed (SIGKILL) at
random moments and started anew each time. Every file that the stages wrote is then compared.
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
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        quiet, disturbed = (clone(Path(scratch, name)) for name in ("quiet", "disturbed"))
        began = time.monotonic()
        run(quiet, *REPRO)
        undisturbed = time.monotonic() - began
        print(f"undisturbed: {undisturbed:.0f} s", flush=True)
        lived = chaos(disturbed, arguments.kills, arguments.seed, undisturbed)
        wanted, found = checksums(quiet), checksums(disturbed)
    differ = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    print(f"kills survived: {len(lived) - 1}")
    print(f"work repeated: {sum(lived) - undisturbed:.0f} s, DVC's own start of each run in it")
    print(f"outputs compared: {len(wanted)}, different: {len(differ)}", *differ, sep="\n  ")
    sys.exit(bool(differ) or len(lived) <= arguments.kills)


def chaos(folder: Path, kills: int, seed: int, undisturbed: float) -> list[float]:
    """Seconds that each run lived; only the last one was left to finish."""
    rng, lived = np.random.default_rng(seed), []
    for attempt in range(TRIES):
        patience = rng.uniform(0, 1.5 * undisturbed / kills) if attempt < kills else None
        began = time.monotonic()
        finished = lives(folder, patience)
        lived.append(time.monotonic() - began)
        print(f"run {attempt + 1}: {lived[-1]:.0f} s, {'finished' if finished else 'killed'}", flush=True)
        if finished:
            break
    return lived


def lives(folder: Path, patience: float | None) -> bool:
    """Whether `dvc repro` finished before it was killed, all of its processes with it."""
    with subprocess.Popen(
        REPRO,
        cwd=folder,
        env=ENVIRONMENT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as running:
        try:
            said, _ = running.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
            return False
    if running.returncode:
        raise SystemExit(f"dvc repro failed after a kill:\n{said.decode()[-4000:]}")
    return True


def run(folder: Path, *command: str) -> str:
    """What a command printed. Ends all with what it said where it fails."""
    ended = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
    return ended.stdout


def clone(path: Path) -> Path:
    """A fresh clone of what is committed, with the smoke profile."""
    run(ROOT, "git", "clone", "--quiet", str(ROOT), str(path))
    run(path, sys.executable, "-m", "wm.cli", "profile", "smoke")
    run(path, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "smoke")
    return path


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of all that the stages wrote."""
    paths = [
        path
        for top in ("data", "models", "metrics")
        for path in sorted((folder / top).rglob("*"))
        if path.is_file() and path.name != ".gitignore" and "pretrained" not in path.parts
    ]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


if __name__ == "__main__":
    main()
