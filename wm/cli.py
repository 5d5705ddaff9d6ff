"""Drive, dream, film, export and publish agents; check and write params.yaml."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from wm import usage
from wm.errors import BadInput, listed, shown, unknown
from wm.packaged import check_checkout
from wm.runtime import run, startup
from wm.runtime.places import PRETRAINED, PUBLISHED, found_agent

# Commands import what they need when they run, and JAX last, so that a mistake is reported at once.

LARGEST = 2**32 - 1  # seed that JAX, Gymnasium and PyTorch all accept
MAX_TEMPERATURE = 100.0

app = App(
    name="wm",
    help=__doc__,
    version_flags=[],
    default_parameter=Parameter(negative=(), consume_multiple=False),
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    help_on_error=False,
    suppress_keyboard_interrupt=False,
)


def main() -> None:
    """Runs the command line."""
    startup.ignore_jax_variables()
    try:
        run.run(call, *sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def call(*words: str) -> None:
    """Runs one command. Raises BadInput for a mistake on the command line."""
    if not words:
        raise BadInput(f"command: found nothing, expected one of {listed(commands())}. Run `wm --help`.")
    try:
        app(words)
    except CycloptsError as error:
        raise BadInput(usage.message(error, commands())) from None


def commands() -> list[str]:
    """The names of all commands."""
    return [name for name in app if not name.startswith("-")]


def at_least(least: int) -> Callable[..., int]:
    """A converter for whole numbers from `least` to `LARGEST`."""

    def convert(kind: Any, tokens: Any) -> int:
        text = tokens[0].value
        short = len(text.lstrip("0")) <= len(str(LARGEST))  # Python reads no number of more than 4,300 digits
        if not (text.isdecimal() and short and least <= int(text) <= LARGEST):
            raise ValueError(f"found {shown(text)}, expected a whole number from {least} to {LARGEST}")
        return int(text)

    return convert


def temperature(kind: Any, tokens: Any) -> float:
    """Converts to a number above 0 and at most `MAX_TEMPERATURE`."""
    text = tokens[0].value
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= MAX_TEMPERATURE:
        raise ValueError(f"found {shown(text)}, expected a number above 0 and at most {MAX_TEMPERATURE:.0f}")
    return number


Count = Annotated[int, Parameter(converter=at_least(0))]
PositiveCount = Annotated[int, Parameter(converter=at_least(1))]
Temperature = Annotated[float, Parameter(converter=temperature)]


@Parameter(name="*")
@dataclass(frozen=True)
class Drives:
    """Which agent drives which tracks, and how the result is printed."""

    models: Path = Path(PUBLISHED)
    """folder of an agent, such as models/rounds/r4; published: the agent in models/pretrained"""
    episodes: PositiveCount = 100
    """number of drives, one per track"""
    seed: Count = 0
    """seed of the first track; later drives use the seeds that follow"""
    json: bool = False
    """print one JSON object and nothing else"""

    @property
    def seeds(self) -> range:
        """The tracks' seeds. Raises BadInput for one above `LARGEST`."""
        most = LARGEST + 1 - self.seed
        if self.episodes > most:
            expected = f"expected at most {most}, since no seed is above {LARGEST}"
            raise BadInput(f"--episodes: found {self.episodes} from --seed {self.seed} on, {expected}")
        return range(self.seed, self.seed + self.episodes)


@app.command
def profile(name: str, /) -> None:
    """Write params.yaml from a profile.

    Parameters
    ----------
    name
        default, quick, best, smoke, paper, or another file in profiles/
    """
    from wm.export import output
    from wm.params import profiles
    from wm.params.file import PARAMS
    from wm.pipeline import lock

    check_checkout()
    text, changes = profiles.change(name)
    with output.replacing(PARAMS) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    lock.prune(profiles.content(name))
    print("\n".join(changes) or f"{PARAMS}: already {name}")


@app.command
def validate() -> None:
    """Check params.yaml."""
    from wm.params import file
    from wm.pipeline import sources

    sources.check(file.load())
    print(f"{file.PARAMS}: valid")


@app.command
def schema() -> None:
    """Print the JSON Schema of params.yaml, for editors."""
    from wm.params.schema import schema

    print(json.dumps(schema(), indent=2))


@app.command
def status() -> None:
    """Show which stages are done or running, and about how many minutes the rest takes."""
    from wm.pipeline import status

    print("\n".join(status.lines()))


@app.command
def devices() -> None:
    """Show the devices that JAX uses, the memory that it may use, and the CPU cores for real drives."""
    from wm.runtime import memory

    startup.check_jax()
    print("\n".join([*memory.lines(), f"{startup.cores()} CPU cores for real drives"]))


@app.command
def publish(round_name: Annotated[str | None, Parameter(name="ROUND")] = None, /) -> None:
    """Copy a round's agent and scores to models/pretrained.

    Parameters
    ----------
    round_name
        the round's name in params.yaml; by default the one that rank chose
    """
    from wm.params import file
    from wm.runtime import results

    params = file.load()
    name = round_name or results.chosen_round(params.rounds)
    if name not in params.rounds:
        raise BadInput(unknown("round", name, params.rounds))
    from wm.export import publish
    from wm.report.model_card import Origin

    rounds = params.rounds_until(name)
    dream_steps = [params.evolve.dream_steps(number) for number in range(len(rounds))]
    publish.publish(Origin(rounds, params.environment.timing, dream_steps, params.evaluate.seed))
    print(f"{PRETRAINED}: the agent of round {name}")


@app.command
def evaluate(
    *,
    drives: Drives = Drives(),
    workers: Count = 0,
    scheduler: str = "local",
    sampled: bool = False,
) -> None:
    """Drive real tracks with an agent and print its scores.

    Parameters
    ----------
    workers
        processes (0: one per core); with --scheduler slurm: concurrent jobs
    scheduler
        local, slurm, or the address of a Dask scheduler, tcp://host:8786
    sampled
        let the agent see sampled latents, with the encoder's noise, instead of their mean
    """
    check_compute(scheduler, workers)
    folder, seeds = found_agent(drives.models), drives.seeds
    from wm.agent import evaluation
    from wm.runtime.workers import Where

    start, where = time.monotonic(), Where(scheduler, workers)
    summary, returns = evaluation.real(folder, seeds, where, sampled=sampled)
    show("real", summary, returns, as_json=drives.json, seconds=time.monotonic() - start)


@app.command
def dream(*, drives: Drives = Drives()) -> None:
    """Drive dreams with an agent and print its scores. A dream starts from a real track's first frame."""
    folder, seeds = found_agent(drives.models), drives.seeds
    from wm.agent import evaluation

    start = time.monotonic()
    summary, returns = evaluation.dreamt(folder, seeds)
    show("dream", summary, returns, as_json=drives.json, seconds=time.monotonic() - start)


def check_compute(scheduler: str, workers: int) -> None:
    """Raises BadInput for options that the section `compute` of params.yaml would not accept."""
    from wm.params import section
    from wm.params.compute import Compute

    try:
        section.validated(Compute, {"scheduler": scheduler, "workers": workers}, "compute")
    except BadInput as error:
        raise BadInput(str(error).replace("compute: ", "--", 1)) from None


def show(world: str, summary: dict[str, Any], returns: Any, *, as_json: bool, seconds: float) -> None:
    """Prints the result as one JSON object or as a line for people."""
    numbers, seconds = {**summary.pop("score"), **summary}, round(seconds, 1)
    if as_json:
        rounded = [round(float(value), 2) for value in returns]
        print(json.dumps({world: numbers, "returns": rounded, "seconds": seconds}))
    else:
        line = ", ".join(f"{name} {value}" for name, value in numbers.items())
        print(f"{world}: {line} ({seconds} s)")


@app.command
def worker(scheduler: str, /, *, workers: Count = 0) -> None:
    """Run worker processes for a Dask scheduler until the scheduler stops.

    Parameters
    ----------
    scheduler
        address of the scheduler, tcp://host:8786
    workers
        number of processes; 0: one per core
    """
    from wm.params.compute import DASK_ADDRESS
    from wm.runtime import dask
    from wm.runtime.progress import shown_elsewhere

    if not DASK_ADDRESS.fullmatch(scheduler):
        expected = "expected the address of a Dask scheduler, tcp://host:8786"
        raise BadInput(f"worker: found {shown(scheduler)}, {expected}")
    check_compute(scheduler, workers)
    with shown_elsewhere():  # by the scheduler
        dask.work(scheduler, workers)


@app.command
def export_onnx(*, models: Path = Path(PUBLISHED), out: Path = Path("models/onnx")) -> None:
    """Write an agent's models as ONNX files.

    Parameters
    ----------
    models
        folder of the agent: vae.eqx, rnn.eqx, controller.eqx
    out
        folder to write to
    """
    folder = found_agent(models)
    from wm.export import onnx

    for path in onnx.export(folder, out):
        print(f"{path}: {path.stat().st_size:,} bytes")


@app.command
def export_dataset(
    *,
    format: Literal["minari"] = "minari",
    source: Path = Path("data/processed/init"),
    out: Path | None = None,
) -> None:
    """Write a folder of drives as another library's dataset.

    Parameters
    ----------
    format
        the other library
    source
        folder of drives with frames: data/raw/NAME or data/processed/init
    out
        Minari's root folder; by default the one that Minari itself reads
    """
    from wm.export import minari

    path = minari.export(source, out)
    print(f"{path}: MINARI_DATASETS_PATH={path.parent}, minari.load_dataset({path.name!r})")


@app.command
def export_web(
    *,
    models: Path = Path(PUBLISHED),
    out: Path = Path("dream.html"),
    weights: Literal["float16", "int8"] = "float16",
) -> None:
    """Write an HTML page on which you drive the dream in a browser.

    Parameters
    ----------
    models
        folder of the agent, with starts.npz
    out
        file to write; it needs no other file and no network
    weights
        type of the weights; int8 halves the file
    """
    folder = found_agent(models)
    from wm.export import web

    size = web.export(folder, out, weights)
    print(f"{out}: {size / 1e6:.1f} MB with weights as {weights}")


@app.command
def watch(
    *,
    out: Path,
    models: Path = Path(PUBLISHED),
    seed: Count = 0,
    steps: Count = 0,
    dream_steps: Count = 0,
    replay: bool = False,
) -> None:
    """Film an agent's drive on a real track beside its drive in the dream, from the same start.

    Parameters
    ----------
    out
        folder for film.webm, film.webp and strip.png
    models
        folder of the agent
    seed
        seed of the track
    steps
        steps of the drives; 0: all of them
    dream_steps
        dreamt steps after which the dream is reset to the real drive's state; 0: never
    replay
        the dream repeats the actions of the real drive: an open-loop dream
    """
    folder = found_agent(models)
    from wm.viewer import commands
    from wm.viewer.comparison import WARM_STEPS, FilmPlan

    print("\n".join(commands.film(folder, out, FilmPlan(seed, steps, WARM_STEPS, dream_steps, replay))))


@app.command
def play(
    *,
    models: Path = Path(PUBLISHED),
    seed: Count = 0,
    steps: Count = 0,
    world: Literal["real", "dream", "both"] = "both",
    agent: bool = False,
    temperature: Temperature | None = None,
) -> None:
    """Drive the real track, the dream, or both, in a window.

    Parameters
    ----------
    models
        folder of the agent
    seed
        seed of the track
    steps
        steps after which the window closes; 0: when you close it
    world
        what to drive
    agent
        let the agent drive until you press an arrow key; in each world it sees that world's latents
    temperature
        temperature of the dream; by default that of evolution
    """
    folder = found_agent(models)
    from wm.viewer import commands

    print(commands.play(folder, seed=seed, steps=steps, world=world, agent=agent, temperature=temperature))


if __name__ == "__main__":
    main()
