"""The `wm` command: `wm profile`, `wm validate`, `wm publish`, `wm evaluate`, `wm dream`."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from wm import config

PRETRAINED, PROFILES = Path("models/pretrained"), Path("profiles")


def main() -> None:
    arguments = parser().parse_args()
    config.run(arguments.run, arguments)


def parser() -> argparse.ArgumentParser:
    """All commands and their options; each names the function that runs it."""
    top = argparse.ArgumentParser(prog="wm", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    profile = commands.add_parser("profile", help="write params.yaml from a profile")
    profile.add_argument("name", help="default, smoke, paper: a file of profiles/")
    profile.set_defaults(run=write_profile)
    validate = commands.add_parser("validate", help="check params.yaml")
    validate.set_defaults(run=check_params)
    publish = commands.add_parser("publish", help="copy a round's agent and scores to models/pretrained")
    publish.add_argument("round", help="its name in params.yaml")
    publish.set_defaults(run=publish_round)
    evaluate = commands.add_parser("evaluate", help="drive real tracks with an agent")
    evaluate.add_argument("--workers", type=at_least(0), default=0, help="processes; 0: all cores")
    evaluate.set_defaults(run=drive_real)
    dream = commands.add_parser("dream", help="drive dreamt tracks with an agent")
    dream.set_defaults(run=drive_dream)
    for command in (evaluate, dream):
        command.add_argument(
            "--models", type=Path, default=PRETRAINED, help="vae.eqx, rnn.eqx, controller.eqx, simulators.eqx"
        )
        command.add_argument("--episodes", type=at_least(1), default=100)
        command.add_argument(
            "--seed", type=at_least(0), default=0, help="of the first track; the others follow"
        )
        command.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    return top


def at_least(least: int) -> Any:
    """A parser of whole numbers that refuses smaller ones."""

    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"found {text!r}, wanted a whole number of {least} or more")
        return int(text)

    return whole_number


def check_params(arguments: argparse.Namespace) -> None:
    """Every section of params.yaml against the stage that reads it."""
    validate(config.read())
    print(f"{config.PARAMS}: valid")


def validate(params: dict[str, Any]) -> None:
    """Raises BadInput for the first thing wrong in any section."""
    from stages import (
        collect,
        evaluate,
        evolve,
        explore,
        fidelity,
        initialise,
        process,
        rank,
        train_rnn,
        train_vae,
    )

    kinds = {
        "environment": config.Environment,
        "process": process.Config,
        "train_vae": train_vae.Config,
        "initialise": initialise.Config,
        "train_rnn": train_rnn.Config,
        "evolve": evolve.Config,
        "evaluate": evaluate.Config,
        "explore": explore.Config,
        "fidelity": fidelity.Config,
        "rank": rank.Config,
    }
    known = {*kinds, "collect", "rounds"}
    for name in sorted(params.keys() ^ known):
        fault = "unknown section, wanted one of " + ", ".join(sorted(known))
        raise config.BadInput(f"{config.PARAMS}: {name}: {fault if name in params else 'is missing'}")
    for name, kind in kinds.items():
        config.validated(kind, params[name], f"{config.PARAMS}: {name}")
    for driver, section in config.mapping(params, "collect").items():
        collect.check_driver(driver)
        config.validated(collect.Config, section, f"{config.PARAMS}: collect.{driver}")
    for name in config.mapping(params, "rounds"):
        config.ancestry(name, params["rounds"])


def write_profile(arguments: argparse.Namespace) -> None:
    """params.yaml as the profile has it: the default profile, and what this one says differently."""
    from ruamel.yaml import YAML

    from wm import files

    chosen = PROFILES / f"{arguments.name}.yaml"
    if not chosen.exists():
        names = ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml")))
        raise config.BadInput(f"{PROFILES}: no profile {arguments.name!r}, wanted one of {names}")
    yaml = YAML()
    params = yaml.load(PROFILES / "default.yaml")
    merge(params, config.read(chosen))
    before = config.read() if config.PARAMS.exists() else {}
    validate(params)
    with files.replacing(config.PARAMS) as unfinished:
        yaml.dump(params, unfinished)
    changed = list(differences(before, config.read(), ""))
    print("\n".join(changed) or f"{config.PARAMS}: already {arguments.name}")


def merge(params: dict[str, Any], other: dict[str, Any], depth: int = 0) -> None:
    """Writes `other` over `params`, name by name; the rounds are taken as a whole."""
    for name, value in other.items():
        if isinstance(value, dict) and not (depth == 0 and name == "rounds"):
            merge(params[name], value, depth + 1)
        else:
            params[name] = value


def differences(before: Any, after: Any, place: str) -> Any:
    """A line `name: old -> new` for each number that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            where = f"{place}.{name}" if place else name
            yield from differences(before.get(name), after.get(name), where)
    elif before != after:
        yield f"{place}: {before} -> {after}"


def publish_round(arguments: argparse.Namespace) -> None:
    """The round's V, M, C, its environment, its scores and its model card, in models/pretrained."""
    import shutil

    from wm import card, files, model_file
    from wm.agent import Models
    from wm.rnn import Ensemble

    name = arguments.round
    config.rounds_until(name)
    folder, scores = Path("models", name), Path("metrics", name)
    sources = [Path("models/vae.eqx"), folder / "rnn.eqx", folder / "controller.eqx"]
    Models(*sources).load()  # nothing damaged is published
    model_file.load(folder / "simulators.eqx", Ensemble)
    sources += [folder / "simulators.eqx", scores / "dream.json", scores / "real.json"]
    for source in sources:
        if not source.exists():
            raise config.BadInput(f"{source}: not found, wanted the round's scores. Run `dvc repro`.")
        with files.replacing(PRETRAINED / source.name) as unfinished:
            shutil.copyfile(source, unfinished)
    environment = config.section(config.Environment, "environment")
    files.write_json(PRETRAINED / "environment.json", environment.model_dump())
    with files.replacing(PRETRAINED / "MODEL_CARD.md") as unfinished:
        unfinished.write_text(card.model_card(name), encoding="utf-8")
    print(f"{PRETRAINED}: the agent of round {name}")


def drive_real(arguments: argparse.Namespace) -> None:
    """`{"real": summary, "returns": [...], "seconds"}` of the agent on real tracks."""
    from dataclasses import replace

    import numpy as np

    from wm import agent
    from wm.agent import Drive, Models
    from wm.progress import progress

    began = time.perf_counter()
    models = Models.within(arguments.models)
    environment = agent.environment(arguments.models)
    drives = [Drive(arguments.seed + i) for i in range(arguments.episodes)]
    running = agent.drive(models, drives, environment, "agent", arguments.workers)
    episodes = [replace(one, observations={}) for one in progress(running, "evaluate", len(drives))]
    scores = np.array([episode.record.score for episode in episodes])
    show(arguments, "real", agent.came_to(episodes, environment), scores, began)


def drive_dream(arguments: argparse.Namespace) -> None:
    """`{"dream": summary, "returns": [...], "seconds"}` of the agent dreaming on from real starts."""
    import jax.random as jr
    import numpy as np

    from wm import agent, dream, metrics
    from wm.agent import Models
    from wm.progress import progress

    began = time.perf_counter()
    models = Models.within(arguments.models).load()
    environment = agent.environment(arguments.models)
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    mu, logvar, rewards = agent.first_sight(models, progress(seeds, "starts", len(seeds)), environment)
    key = jr.key(arguments.seed)
    worlds = agent.simulators(arguments.models, models)
    starts = (mu, logvar, rewards)
    rules = dream_rules(arguments.models, environment.action_repeat)
    dreamt = dream.whole_episodes(
        worlds, models.rnn, models.controller, *starts, rules, environment.warm_up_frames, key
    )
    scores = np.asarray(dreamt.score)
    found = metrics.drives(*(np.asarray(part) for part in dreamt))
    show(arguments, "dream", found, scores, began)


def dream_rules(folder: Path, action_repeat: int) -> Any:
    """The rules of the dream in which the agent in `folder` was evolved, as its dream.json says."""
    from wm import files
    from wm.dream import Rules

    path = folder / "dream.json"
    found = files.read_json(path).get("rules") if path.exists() else None
    return Rules(**found) if found else Rules(1.0, 0, action_repeat)


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
