"""Runs a stage: `python -m stages NAME [ROUND [PREV]]`.

All of params.yaml is checked before the stage's module, and with it JAX, is imported.
"""

from wm.runtime import interrupt

if __name__ == "__main__":
    interrupt.install()  # before the other imports, which take a while

import inspect
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from wm.errors import BadInput, listed, shown
from wm.params import file
from wm.params.model import Params
from wm.pipeline import work
from wm.runtime import stage_log, startup
from wm.runtime.run import run

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
STAGES = [name for name in NAMES if name != "deps"]
CONVOLUTIONAL = ("train_vae", "encode")  # stages whose time goes to V's convolutions


def main() -> None:
    """Runs the stage that the command line names."""
    startup.keep_memory()
    run(run_stage, *sys.argv[1:])


def run_stage(name: str = "", *arguments: str) -> None:
    """Runs the stage `name`. Raises BadInput for a mistake in params.yaml or on the command line."""
    if name in ("", "-h", "--help"):
        usage = f"python -m stages NAME [ROUND [PREV]]; NAME is one of {listed(STAGES)}; deps checks dvc.yaml"
        if name:
            print(f"Usage: {usage}")
            return
        raise BadInput(f"stage: found nothing, expected {usage}")
    if name not in NAMES:
        raise BadInput(f"stage: found {shown(name)}, expected one of {listed(STAGES)}; deps checks dvc.yaml")
    params = file.load()
    startup.cache_compiled()
    startup.set_gpu_flags(deterministic=params.gpu.deterministic)
    if name in CONVOLUTIONAL:
        startup.convolve_without_ynnpack()
    stage = import_module(f"stages.{name}").main
    check_arguments(stage, arguments, params)
    with stage_log.noted(partial(work.units, params)):
        stage(params, *arguments)


def check_arguments(stage: Any, arguments: tuple[str, ...], params: Params) -> None:
    """Refuses arguments that the stage does not take, or that params.yaml does not name."""
    signature = inspect.signature(stage)
    try:
        bound = signature.bind(params, *arguments).arguments
    except TypeError:
        names = list(signature.parameters)[1:]
        expected = " ".join(part.removesuffix("_name").upper() for part in names) or "none"
        if names == ["round_name", "prev"]:
            first = next(iter(params.rounds))
            expected += f", for example: {first} {params.rounds[first].prev}"
        raise BadInput(f"arguments: found {shown(list(arguments))}, expected {expected}") from None
    name, prev = bound.get("round_name"), bound.get("prev")
    if name is not None and name not in params.rounds:
        raise BadInput(f"round: found {shown(name)}, expected one of {listed(params.rounds)}")
    if name is not None and "prev" in signature.parameters and prev != params.rounds[name].prev:
        raise BadInput(f"prev of {name}: found {shown(prev)}, expected {params.rounds[name].prev}")


if __name__ == "__main__":
    main()
