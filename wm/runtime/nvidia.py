"""Why JAX does not compute on an NVIDIA GPU, and what to do about it."""

import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points

OLDEST_DRIVER = 525  # that runs CUDA 12
SECONDS = 20.0  # for nvidia-smi to answer
WHERE = "under WSL: on Windows, never inside WSL"


def program() -> str | None:
    """The path of nvidia-smi, which comes with the driver."""
    return shutil.which("nvidia-smi")


def driver() -> str:
    """The version of the driver of the first GPU; empty if there is no GPU or no driver."""
    if (path := program()) is None:
        return ""
    command = [path, "--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
        version = said.stdout.partition("\n")[0].strip()
        return version if version[:1].isdecimal() else ""  # "No devices were found", "[N/A]"
    return ""


def remedy(version: str) -> str:
    """What makes JAX compute on a GPU with this version of the driver."""
    if not version:
        return f"nvidia-smi finds no GPU: install NVIDIA's driver ({WHERE})"
    if version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) < OLDEST_DRIVER:
        return f"its driver is {version}, expected {OLDEST_DRIVER} or newer: update it ({WHERE})"
    if not any("cuda" in plugin.value for plugin in entry_points(group="jax_plugins")):
        return "JAX is installed without CUDA: run `uv sync --extra cuda`"
    return f"CUDA does not start with driver {version}: see docs/gpu.md"


@cache
def warn_of_unused() -> None:
    """Writes one line if there is a GPU, though JAX computes on the CPU."""
    if version := driver():
        line = f"an NVIDIA GPU is not used: {remedy(version)}. JAX_PLATFORMS=cpu hides this line"
        print(f"warning: {line}", file=sys.stderr)
