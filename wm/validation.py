"""All of params.yaml at once: its sections, and what must hold between them."""

from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, Field, WithJsonSchema

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
from wm import config
from wm.devices import Hosts
from wm.parallel import Compute

RESERVED = {config.FIRST_ROUND, "pretrained", *collect.DRIVERS}  # they have folders of their own


def _driver(name: str) -> str:
    if name not in collect.DRIVERS:
        raise ValueError(f"wanted one of {config.known(collect.DRIVERS)}")
    return name


def _round(name: str) -> str:
    if not config.ROUND_NAME.fullmatch(name):
        raise ValueError("wanted a letter, and then no more than 39 letters, digits, - and _")
    if name in RESERVED:
        raise ValueError(f"wanted another name than {config.known(sorted(RESERVED))}")
    return name


DriverName = Annotated[
    str, AfterValidator(_driver), WithJsonSchema({"type": "string", "enum": list(collect.DRIVERS)})
]
RoundName = Annotated[
    str,
    AfterValidator(_round),
    WithJsonSchema({"type": "string", "pattern": f"^{config.ROUND_NAME.pattern}$"}),
]


class Params(config.Section):
    """params.yaml: what the stages of dvc.yaml are told."""

    environment: config.Environment
    compute: Compute
    hosts: Hosts
    gpu: config.GPU
    rounds: Annotated[dict[RoundName, config.Round], Field(min_length=1)]
    collect: Annotated[dict[DriverName, collect.Config], Field(min_length=1)]
    process: process.Config
    train_vae: train_vae.Config
    initialise: initialise.Config
    train_rnn: train_rnn.Config
    evolve: evolve.Config
    evaluate: evaluate.Config
    explore: explore.Config
    fidelity: fidelity.Config
    rank: rank.Config


def validate(params: dict[str, Any]) -> Params:
    """The parameters. Raises BadInput for the first thing wrong in any section or between two."""
    found = config.validated(Params, params, str(config.PARAMS))
    for name in found.rounds:
        config.ancestry(name, params["rounds"])
    _check_sources(found)
    _check_split(found)
    _check_steps(found)
    _check_search(found)
    _check_simulators(found)
    _check_tracks(found)
    return found


def _wrong(place: str, found: Any, wanted: str) -> NoReturn:
    raise config.BadInput(f"{config.PARAMS}: {place}: found {found!r}, wanted {wanted}")


def _check_sources(params: Params) -> None:
    """A filter must be of drives that there are."""
    sources = [*params.collect, *params.rounds]
    for name in params.process.min_score:
        if name not in sources:
            _wrong("process.min_score", name, f"one of {config.known(sources)}")


def _check_split(params: Params) -> None:
    """The validation split, which takes one track of each driver at least, must leave some to train on."""
    share = params.process.validation_share
    tracks = [driver.episodes for driver in params.collect.values()]
    if sum(tracks) == sum(max(1, round(share * count)) for count in tracks):
        least = f"a share that leaves one of the drivers' {sum(tracks)} tracks to train on"
        _wrong("process.validation_share", share, least)


def _check_steps(params: Params) -> None:
    """No stretch of a drive may be longer than the longest drive."""
    most = params.environment.most_steps
    stretches = {
        "evolve.horizon_steps": (params.evolve.horizon_steps, most),
        "evolve.value_steps": (params.evolve.value_steps, most - 1),
        "fidelity.plan_steps": (params.fidelity.plan_steps, most - 1),
        "fidelity.window_steps": (params.fidelity.window_steps, params.fidelity.plan_steps),
    }
    for place, (steps, limit) in stretches.items():
        if steps > limit:
            whose = "fidelity.plan_steps" if "window" in place else f"a drive has {most} steps"
            _wrong(place, steps, f"{limit} at most ({whose})")


def _check_search(params: Params) -> None:
    """The search must narrow. Its directions must be found among what controllers see, in as many moments,
    and a generation's dreams must start from different ones."""
    evolution, moments = params.evolve, starts(params.evolve)
    for name in ("search", "refine"):
        search, place = getattr(evolution, name), f"evolve.{name}"
        if search.last_std > search.max_std:
            _wrong(f"{place}.last_std", search.last_std, f"{search.max_std} at most ({place}.max_std)")
    features = params.train_vae.latent_size + params.initialise.hidden_size
    if evolution.components > features:
        seen = "train_vae.latent_size + initialise.hidden_size, what the controller sees"
        _wrong("evolve.components", evolution.components, f"{features} at most ({seen})")
    for name in ("components", "rollouts"):
        if (found := getattr(evolution, name)) > moments:
            whose = "the starts of dreams: start_episodes x starts_per_episode"
            _wrong(f"evolve.{name}", found, f"{moments} at most ({whose})")


def starts(evolution: evolve.Config) -> int:
    """Moments that dreams start from: of whole batches of drives."""
    batch = min(evolve.DRIVES_AT_ONCE, evolution.start_episodes)
    return evolution.start_episodes // batch * batch * evolution.starts_per_episode


def _check_simulators(params: Params) -> None:
    """Every simulator must make a dream wherever they take turns."""
    least = params.initialise.simulators
    turns = {
        "evolve.rollouts": params.evolve.rollouts,
        "evolve.score_episodes": params.evolve.score_episodes,
        "fidelity.plans": params.fidelity.plans,
        "rank.dreams": params.rank.dreams,
    }
    for place, dreams in turns.items():
        if dreams < least:
            _wrong(place, dreams, f"{least} at least, one for each of initialise.simulators")


def _check_tracks(params: Params) -> None:
    """No track may be used twice, those of the evaluation least of all."""
    for (place, one), (other_place, other) in combinations(tracks(params), 2):
        if one.start < other.stop and other.start < one.stop:
            others = f"{other.start} to {other.stop - 1}, which are {other_place}'s"
            found = f"found {one.start} to {one.stop - 1}"
            raise config.BadInput(f"{config.PARAMS}: {place}: tracks: {found}, wanted none of {others}")


def tracks(params: Params) -> Iterator[tuple[str, range]]:
    """The tracks' seeds by their uses. Rounds that are equally many rounds from the start share theirs."""
    yield "evaluate", _range(params.evaluate.seed, params.evaluate.episodes)
    for driver, drives in params.collect.items():
        yield f"collect.{driver}", _range(drives.seed, drives.episodes)
    rounds = {name: one.model_dump() for name, one in params.rounds.items()}
    for number in sorted({len(config.ancestry(name, rounds)) for name in rounds}):
        first = explore.first_track(params.explore, number)
        yield f"explore (after {number} rounds)", _range(first, params.explore.episodes)
    yield "fidelity", _range(params.fidelity.seed, params.fidelity.tracks)


def _range(first: int, count: int) -> range:
    return range(first, first + count)


def schema() -> dict[str, Any]:
    """The JSON Schema of params.yaml, for editors."""
    address = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": address, **Params.model_json_schema()}
