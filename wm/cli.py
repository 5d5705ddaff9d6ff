"""The `wm` command: all that one does with an agent and its dreams besides `dvc repro`."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from wm import errors
from wm.errors import BadInput
from wm.params import file, section
from wm.params.file import PARAMS
from wm.runtime import run

PRETRAINED = Path("models/pretrained")
LARGEST = 2**32 - 1  # seed, as JAX, Gymnasium and PyTorch all take it
HOTTEST = 100.0


def main() -> None:
    arguments = parser().parse_args()
    try:
        run.run(arguments.run, arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads this has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def parser() -> argparse.ArgumentParser:
    """All commands and their options; each names the function that runs it."""
    top = argparse.ArgumentParser(prog="wm", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    profile = commands.add_parser("profile", help="write params.yaml from a profile")
    profile.add_argument("name", help="default, reduced, smoke, paper: a file of profiles/")
    profile.set_defaults(run=write_profile)
    validate = commands.add_parser("validate", help="check params.yaml")
    validate.set_defaults(run=check_params)
    schema = commands.add_parser("schema", help="print the JSON Schema of params.yaml, for editors")
    schema.set_defaults(run=print_schema)
    publish = commands.add_parser("publish", help="copy a round's agent and scores to models/pretrained")
    publish.add_argument(
        "round", nargs="?", help="its name in params.yaml; without: the one that `rank` chose"
    )
    publish.set_defaults(run=publish_round)
    evaluate = commands.add_parser("evaluate", help="drive real tracks with an agent")
    evaluate.add_argument(
        "--workers", type=at_least(0), default=0, help="processes, 0: all cores; or SLURM's jobs at once"
    )
    evaluate.add_argument(
        "--scheduler", default="local", help="what does it instead: a Dask cluster, tcp://host:8786, or slurm"
    )
    evaluate.add_argument(
        "--drawn", action="store_true", help="see latents drawn, as dreams are, not the encoder's mean"
    )
    evaluate.set_defaults(run=drive_real)
    worker = commands.add_parser("worker", help="work for a Dask scheduler, on all cores")
    worker.add_argument("scheduler", help="its address, tcp://host:8786")
    worker.add_argument("--workers", type=at_least(0), default=0, help="processes; 0: one for every core")
    worker.set_defaults(run=work)
    dream = commands.add_parser("dream", help="drive dreamt tracks with an agent")
    dream.set_defaults(run=drive_dream)
    onnx = commands.add_parser("export-onnx", help="an agent's models as ONNX files")
    onnx.add_argument("--models", type=Path, default=PRETRAINED, help="vae.eqx, rnn.eqx, controller.eqx")
    onnx.add_argument(
        "--out", type=Path, default=Path("models/onnx"), help="folder to write to; %(default)s unless given"
    )
    onnx.set_defaults(run=export_onnx)
    dataset = commands.add_parser("export-dataset", help="a folder of drives as another library's dataset")
    dataset.add_argument("--format", choices=["minari"], default="minari")
    dataset.add_argument(
        "--source", type=Path, default=Path("data/processed/init"), help="of shards with frames"
    )
    dataset.add_argument("--out", type=Path, help="Minari's root; without it, where Minari itself looks")
    dataset.set_defaults(run=export_dataset)
    for command in (evaluate, dream):
        command.add_argument(
            "--models", type=Path, default=PRETRAINED, help="vae.eqx, rnn.eqx, controller.eqx, simulators.eqx"
        )
        command.add_argument("--episodes", type=at_least(1), default=100, help="%(default)s unless given")
        command.add_argument(
            "--seed", type=at_least(0), default=0, help="of the first track; the others follow"
        )
        command.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    web = commands.add_parser("export-web", help="make the page on which a person drives the dream")
    web.add_argument("--models", type=Path, default=PRETRAINED, help="the agent, with starts.npz")
    web.add_argument(
        "--out",
        type=Path,
        default=Path("dream.html"),
        help="one file that needs no other; %(default)s unless given",
    )
    web.add_argument("--weights", choices=("float16", "int8"), default="float16", help="int8: half as large")
    web.set_defaults(run=export_web)
    add_watch(commands.add_parser("watch", help="film one real drive of an agent beside its dream"))
    add_play(commands.add_parser("play", help="drive the real track, the dream, or both, in a window"))
    return top


def add_watch(watch: argparse.ArgumentParser) -> None:
    """The options of `wm watch`."""
    add_drive(watch, "of the drive; 0: all of it")
    watch.add_argument("--out", type=Path, required=True, help="folder of film.webm, film.webp, strip.png")
    watch.add_argument(
        "--warm",
        type=at_least(1),
        default=12,
        help="real steps that the dream sees first; %(default)s unless given",
    )
    watch.add_argument(
        "--dream-steps", type=at_least(0), default=0, help="after which it sees reality again; 0: never"
    )
    watch.set_defaults(run=film_drive)


def add_play(play: argparse.ArgumentParser) -> None:
    """The options of `wm play`."""
    add_drive(play, "after which the window closes; 0: when you close it")
    play.add_argument("--world", choices=("real", "dream", "both"), default="both")
    play.add_argument("--agent", action="store_true", help="the agent drives until you press an arrow key")
    play.add_argument("--temperature", type=temperature, help="of the dream; evolution's unless given")
    play.set_defaults(run=open_window)


def add_drive(command: argparse.ArgumentParser, steps: str) -> None:
    """Whose drive, on which track, and how long."""
    command.add_argument("--models", type=Path, default=PRETRAINED, help="the agent's folder")
    command.add_argument("--seed", type=at_least(0), default=0, help="of the track")
    command.add_argument("--steps", type=at_least(0), default=0, help=steps)


def at_least(least: int, most: int = LARGEST) -> Any:
    """A parser of whole numbers that refuses smaller ones, and those that no seed or count can be."""

    def whole_number(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(
                f"found {text!r}, wanted a whole number of {least} or more, {most} at most"
            )
        return int(text)

    return whole_number


def temperature(text: str) -> float:
    """A number above 0, `HOTTEST` at most."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= HOTTEST:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, wanted a number above 0 and no more than {HOTTEST:.0f}"
        )
    return found


def check_params(arguments: argparse.Namespace) -> None:
    """All of params.yaml: its sections, and the rules between them."""
    file.load()
    print(f"{PARAMS}: valid")


def print_schema(arguments: argparse.Namespace) -> None:
    """The JSON Schema of params.yaml."""
    from wm.params.schema import schema

    print(json.dumps(schema(), indent=2))


def write_profile(arguments: argparse.Namespace) -> None:
    """params.yaml from a profile."""
    from wm.params import profiles
    from wm.runtime import files

    text, changes = profiles.change(arguments.name)
    with files.replacing(PARAMS) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    print("\n".join(changes) or f"{PARAMS}: already {arguments.name}")


def publish_round(arguments: argparse.Namespace) -> None:
    """A round's models, starts, environment, scores and model card in models/pretrained."""
    from wm.export.publish import publish

    name = publish(file.load(), arguments.round)
    print(f"{PRETRAINED}: the agent of round {name}")


def drive_real(arguments: argparse.Namespace) -> None:
    """`{"real": summary, "returns": [...], "seconds"}` of the agent on real tracks."""
    from dataclasses import replace

    import numpy as np

    from wm.agent import agent as agent_files
    from wm.agent import driving
    from wm.agent.agent import Models
    from wm.agent.driving import Drive
    from wm.agent.summary import came_to
    from wm.runtime.progress import progress
    from wm.runtime.workers import Compute

    began = time.perf_counter()
    wanted = {"scheduler": arguments.scheduler, "workers": arguments.workers}
    compute = section.validated(Compute, wanted, "evaluate: compute")
    models = Models.within(arguments.models)
    environment = agent_files.environment(arguments.models)
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    drives = [Drive(seed, drawn=arguments.drawn) for seed in seeds]
    running = driving.drive(models, drives, environment, "agent", compute)
    episodes = [replace(one, observations={}) for one in progress(running, "evaluate", len(drives))]
    scores = np.array([episode.record.score for episode in episodes])
    show(arguments, "real", came_to(episodes, environment), scores, began)


def work(arguments: argparse.Namespace) -> None:
    """Worker processes of one thread each for a Dask scheduler, until it or you end them."""
    from importlib.util import find_spec

    from wm.params.compute import DASK_ADDRESS
    from wm.runtime import workers

    if not DASK_ADDRESS.fullmatch(arguments.scheduler):
        found = errors.shown(arguments.scheduler)
        raise BadInput(f"worker: found {found}, wanted the address of a Dask scheduler, tcp://host:8786")
    if find_spec("distributed") is None:
        raise BadInput("worker: wants the extra dask: `uv sync --extra dask`")
    count = str(arguments.workers or workers.cores())
    dask = [sys.executable, "-m", "distributed.cli.dask_worker", arguments.scheduler]
    command = [*dask, "--nworkers", count, "--nthreads", "1", "--no-dashboard"]
    os.execve(sys.executable, command, os.environ | workers.ONE_THREAD)


def drive_dream(arguments: argparse.Namespace) -> None:
    """`{"dream": summary, "returns": [...], "seconds"}` of the agent dreaming on from real starts."""
    import jax.random as jr
    import numpy as np

    from wm.agent import agent as agent_files
    from wm.agent import summary
    from wm.agent.agent import Models
    from wm.agent.driving import first_sight
    from wm.dream import playing
    from wm.dream.scoring import whole_episodes
    from wm.runtime.progress import progress

    began = time.perf_counter()
    models = Models.within(arguments.models).load()
    environment = agent_files.environment(arguments.models)
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    mu, logvar, rewards = first_sight(models, progress(seeds, "starts", len(seeds)), environment)
    key = jr.key(arguments.seed)
    worlds = agent_files.simulators(arguments.models, models)
    starts = (mu, logvar, rewards)
    rules = playing.dream_rules(arguments.models, environment.action_repeat)
    dreamt = whole_episodes(
        worlds, models.rnn, models.controller, *starts, rules, environment.warm_up_frames, key
    )
    scores = np.asarray(dreamt.score)
    found = summary.drives(*(np.asarray(part) for part in dreamt))
    show(arguments, "dream", found, scores, began)


def export_web(arguments: argparse.Namespace) -> None:
    """One HTML file that dreams, with an agent's weights in it."""
    from wm.agent import agent as agent_files
    from wm.dream import playing
    from wm.export import web

    environment = agent_files.environment(arguments.models)
    rules = playing.dream_rules(arguments.models, environment.action_repeat)
    size = web.export(arguments.models, arguments.out, arguments.weights, rules)
    print(f"{arguments.out}: {size / 1e6:.1f} MB with weights as {arguments.weights}")


def export_onnx(arguments: argparse.Namespace) -> None:
    """encoder, decoder, rnn_step and controller.onnx of an agent."""
    from wm.export import onnx

    for path in onnx.export(arguments.models, arguments.out):
        print(f"{path}: {path.stat().st_size:,} bytes")


def export_dataset(arguments: argparse.Namespace) -> None:
    """The kept drives of a folder as a Minari dataset."""
    from wm.export import minari

    path = minari.export(arguments.source, arguments.out)
    print(f"{path}: MINARI_DATASETS_PATH={path.parent}, minari.load_dataset({path.name!r})")


def film_drive(arguments: argparse.Namespace) -> None:
    """A film of one drive beside its dream, in the folder `out`."""
    from wm.agent import agent as agent_files
    from wm.dream import playing
    from wm.runtime.progress import progress
    from wm.spec import FPS
    from wm.viewer import comparison
    from wm.viewer.scenes import Minds

    minds = Minds.within(arguments.models, arguments.seed)
    environment = agent_files.environment(arguments.models)
    rules = playing.dream_rules(arguments.models, environment.action_repeat)
    make_folder(arguments.out)
    plan = comparison.Plan(arguments.seed, arguments.steps, arguments.warm, arguments.dream_steps)
    running = comparison.moments(minds, environment, rules, plan)
    drive = list(progress(running, "drive", 1 + (arguments.steps or environment.max_steps)))
    shown = list(progress(comparison.draw(drive), "pictures", len(drive)))
    paths = comparison.write(arguments.out, shown, FPS / environment.action_repeat)
    print(comparison.summary(drive[-1], plan))
    print(", ".join(map(str, paths)))


def make_folder(path: Path) -> None:
    """A folder at `path`, before work is spent on what goes there. Raises BadInput."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, wanted a folder to write to") from None
    if not os.access(path, os.W_OK):
        raise BadInput(f"{path}: not writable, wanted a folder to write to")


def open_window(arguments: argparse.Namespace) -> None:
    """The game in its window; the scores once it is closed."""
    from wm.agent import agent as agent_files
    from wm.dream import playing
    from wm.viewer import window
    from wm.viewer.game import Game
    from wm.viewer.scenes import Minds

    window.need_display()
    minds = Minds.within(arguments.models, arguments.seed)
    environment = agent_files.environment(arguments.models)
    rules = playing.dream_rules(arguments.models, environment.action_repeat)
    if arguments.temperature is not None:
        rules = rules._replace(temperature=arguments.temperature)
    game = Game(minds, environment, rules, kind=arguments.world, seed=arguments.seed, agent=arguments.agent)
    window.run(game, arguments.steps)
    print(", ".join(f"{name} {scene.score:.0f}" for name, scene in game.scenes.items()))


def show(arguments: argparse.Namespace, world: str, found: dict, scores: Any, began: float) -> None:
    """The result as JSON or as a line for people."""
    seconds = round(time.perf_counter() - began, 1)
    summary = {**found.pop("score"), **found}
    if arguments.json:
        returns = [round(float(score), 2) for score in scores]
        print(json.dumps({world: summary, "returns": returns, "seconds": seconds}))
    else:
        figures = ", ".join(f"{name} {value}" for name, value in summary.items())
        print(f"{world}: {figures} ({seconds} s)")


if __name__ == "__main__":
    main()
