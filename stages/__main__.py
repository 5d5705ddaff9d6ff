"""Runs a stage: `python -m stages NAME [ROUND [PREV]]`.

All of params.yaml is checked before the stage's module, and with it JAX, is imported.
"""

from wm.runtime import interrupt

if __name__ == "__main__":
    interrupt.install()  # before the other imports, which take a while

import ast
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

from wm.errors import BadInput, listed, shown, unknown
from wm.params import file
from wm.params.model import Params
from wm.pipeline import repo_lock, sources, work
from wm.runtime import memory, stage_log, startup
from wm.runtime.run import run

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
STAGES = [name for name in NAMES if name != "deps"]
STEP_SIZES = {  # stages that resume, and the parameters that determine how much memory their steps need
    "train_vae": ("batch_size",),
    "train_rnn": ("batch_size", "window_steps"),
    "evolve": ("rollouts",),
}
CONVOLUTIONAL = ("train_vae", "encode", "encode_explored")  # stages whose time goes to V's convolutions


def main() -> None:
    """Runs the stage that the command line names."""
    startup.keep_memory()
    startup.ignore_jax_variables()
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
        raise BadInput(unknown("stage", name, NAMES))
    params = file.load()
    check_arguments(name, arguments, params)
    if name in STAGES:
        sources.check(params)
    startup.cache_compiled()
    startup.set_gpu_flags(deterministic=params.gpu.deterministic)
    if name in CONVOLUTIONAL:
        startup.convolve_without_ynnpack()
    stage = import_module(f"stages.{name}").main
    if "jax" in sys.modules and not params.hosts.launcher:
        startup.check_jax()
    sizes = step_sizes(name, params, *arguments)
    with stage_log.noted(partial(work.units, params)), memory.named(name, sizes):
        stage(params, *arguments)
    repo_lock.wait_until_free()


def step_sizes(stage: str, params: Params, round_name: str = "", *_: str) -> dict[str, int]:
    """The parameters in STEP_SIZES of a stage, by name."""
    names = STEP_SIZES.get(stage, ())
    if stage == "train_rnn" and work.is_first(params, round_name):
        names = [f"first_round_{name}" for name in names]
    return {f"{stage}.{name}": getattr(getattr(params, stage), name) for name in names}


def check_arguments(stage: str, arguments: tuple[str, ...], params: Params) -> None:
    """Refuses arguments that the stage does not take, or that params.yaml does not name."""
    names, required = parameters(stage)
    if not required <= len(arguments) <= len(names):
        found, expected = shown(" ".join(arguments)) if arguments else "nothing", wanted(stage, names, params)
        raise BadInput(f"{stage}: arguments: found {found}, expected {expected}")
    bound = dict(zip(names, arguments, strict=False))
    name, prev, source = bound.get("round_name"), bound.get("prev"), bound.get("source")
    if source is not None and source not in (known := sources.of_stage(stage, params)):
        raise BadInput(unknown("source" if stage == sources.IMPORT else "driver", source, known))
    if name is not None and name not in params.rounds:
        raise BadInput(unknown("round", name, params.rounds))
    if name is not None and "prev" in names and prev != params.rounds[name].prev:
        found = "nothing" if prev is None else shown(prev)
        raise BadInput(f"prev of {name}: found {found}, expected {params.rounds[name].prev}")


def parameters(stage: str) -> tuple[list[str], int]:
    """The names of the arguments of a stage's `main`, and how many it needs; does not import the stage."""
    tree = ast.parse((FOLDER / f"{stage}.py").read_bytes())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    arguments = next(functions).args
    names = [argument.arg for argument in arguments.args[1:]]  # the first one is params
    return names, len(names) - len(arguments.defaults)


def wanted(stage: str, names: list[str], params: Params) -> str:
    """The arguments of a stage, in words."""
    match names:
        case ["source"]:
            kind, known = "SOURCE" if stage == sources.IMPORT else "DRIVER", sources.of_stage(stage, params)
            return f"{kind}, one of {listed(known) or 'none in params.yaml'}"
        case ["round_name"]:
            return f"ROUND, one of {listed(params.rounds)}"
        case ["round_name", "prev"]:
            first = next(iter(params.rounds))
            return f"ROUND PREV, for example: {first} {params.rounds[first].prev}"
        case ["option"]:
            return "--write or nothing"
    return " ".join(map(str.upper, names)) or "none"


if __name__ == "__main__":
    main()
