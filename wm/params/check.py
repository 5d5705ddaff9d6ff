"""Rules that hold between the sections of params.yaml."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NoReturn

from wm.errors import BadInput, listed
from wm.params.collect import DRIVERS, Collect
from wm.params.import_drives import ImportDrives
from wm.params.model import Params
from wm.params.names import INIT
from wm.params.rounds import NAME
from wm.params.section import validated

FILE = "params.yaml"
LEAST_EXPLORED = 4  # drives; the first and the fourth are by the agent itself
RESERVED = {INIT, "pretrained", *DRIVERS}  # names of folders beside those of rounds


def check(content: dict[str, Any]) -> Params:
    """The parameters. Raises BadInput for the first mistake within a section or between two."""
    _check_collect(content.get("collect"))
    params = validated(Params, content, FILE)
    _check_rounds(params)
    _check_sources(params)
    _check_split(params)
    _check_explored(params)
    _check_steps(params)
    _check_search(params)
    _check_simulators(params)
    _check_tracks(params)
    return params


def _refuse(place: str, found: Any, expected: str) -> NoReturn:
    raise BadInput(f"{FILE}: {place}: found {found!r}, expected {expected}")


def _check_collect(sources: Any) -> None:
    """Every source must be a known driver, or have a path; each is checked as what it is."""
    for name, source in sources.items() if isinstance(sources, dict) else ():
        recorded, place = isinstance(source, dict) and "path" in source, f"collect.{name}"
        if not recorded and name not in DRIVERS:
            _refuse(place, name, f"one of {listed(DRIVERS)}; or recorded drives, with a path")
        if recorded and name in RESERVED:
            _refuse(place, name, f"a name other than {listed(sorted(RESERVED))} for recorded drives")
        if recorded and not NAME.fullmatch(str(name)):
            _refuse(place, name, "a letter, followed by at most 39 letters, digits, - or _")
        validated(ImportDrives if recorded else Collect, source, f"{FILE}: {place}")


def _check_rounds(params: Params) -> None:
    """Every round must descend from init, and have a name that no other folder has."""
    for name in params.rounds:
        if name in (taken := RESERVED | params.recorded.keys()):
            _refuse(f"rounds.{name}", name, f"a name other than {listed(sorted(taken))}")
        try:
            params.rounds_until(name)
        except ValueError as error:
            raise BadInput(f"{FILE}: {error}") from None


def _check_sources(params: Params) -> None:
    """A score filter must name an existing source of drives."""
    sources = [*params.collect, *params.rounds]
    for name in params.process.min_score:
        if name not in sources:
            _refuse("process.min_score", name, f"one of {listed(sources)}")


def _check_split(params: Params) -> None:
    """The validation split, which takes at least one track of each driver, must leave some to train on."""
    share = params.process.validation_share
    tracks = [driver.episodes for driver in params.collect.values()]
    if sum(tracks) == sum(max(1, round(share * count)) for count in tracks):
        expected = f"a share that leaves at least one of the drivers' {sum(tracks)} tracks to train on"
        _refuse("process.validation_share", share, expected)


def _check_explored(params: Params) -> None:
    """Two drives must be by the agent itself: what `fidelity` fits on one it measures on another."""
    if params.explore.episodes < LEAST_EXPLORED:
        expected = f"at least {LEAST_EXPLORED}, of which two are by the agent itself, for fidelity"
        _refuse("explore.episodes", params.explore.episodes, expected)


def _check_steps(params: Params) -> None:
    """No part of a drive may be longer than the longest drive."""
    max_steps = params.environment.timing.max_steps
    parts = {
        "evolve.horizon_steps": (params.evolve.horizon_steps, max_steps),
        "evolve.value_steps": (params.evolve.value_steps, max_steps - 1),
        "fidelity.plan_steps": (params.fidelity.plan_steps, max_steps - 1),
        "fidelity.window_steps": (params.fidelity.window_steps, params.fidelity.plan_steps),
    }
    for place, (steps, limit) in parts.items():
        if steps > limit:
            reason = "fidelity.plan_steps" if "window" in place else f"a drive has {max_steps} steps"
            _refuse(place, steps, f"at most {limit} ({reason})")


def _check_search(params: Params) -> None:
    """The search must narrow, in directions that the controller's inputs have, from distinct start states."""
    evolve, states = params.evolve, params.evolve.start_states
    for name in ("search", "refine"):
        search, place = getattr(evolve, name), f"evolve.{name}"
        if search.final_std > search.max_std:
            _refuse(f"{place}.final_std", search.final_std, f"at most {search.max_std} ({place}.max_std)")
    features = params.train_vae.latent_size + params.initialise.hidden_size
    if evolve.principal_components > features:
        reason = "train_vae.latent_size + initialise.hidden_size, the controller's inputs"
        _refuse("evolve.principal_components", evolve.principal_components, f"at most {features} ({reason})")
    counts = {name: getattr(evolve, name) for name in ("principal_components", "rollouts")}
    for name, count in (counts | {"ascent.dreams": evolve.ascent.dreams}).items():
        if count > states:
            reason = "the dreams' start states: start_episodes x starts_per_episode"
            _refuse(f"evolve.{name}", count, f"at most {states} ({reason})")


def _check_simulators(params: Params) -> None:
    """Where RNNs generate dreams in turn, each must generate at least one."""
    simulators = params.initialise.simulators + 1
    ranking = simulators * min(params.rank.simulator_rounds, len(params.rounds))
    each = "one for each RNN (1 + initialise.simulators)"
    counts = {
        "evolve.rollouts": (params.evolve.rollouts, simulators, each),
        "evolve.ascent.dreams": (params.evolve.ascent.dreams, simulators, each),
        "evolve.score_episodes": (params.evolve.score_episodes, simulators, each),
        "fidelity.plans": (params.fidelity.plans, simulators, each),
        "rank.dreams_per_controller": (
            params.rank.dreams_per_controller,
            ranking,
            f"{each} of the last {ranking // simulators} rounds",
        ),
    }
    for place, (dreams, fewest, reason) in counts.items():
        if dreams < fewest:
            _refuse(place, dreams, f"at least {fewest}, {reason}")


def _check_tracks(params: Params) -> None:
    """No track may serve two purposes, those of the evaluation least of all."""
    for (place, seeds), (later_place, later) in combinations(tracks(params), 2):
        if seeds.start < later.stop and later.start < seeds.stop:
            taken = f"{later.start} to {later.stop - 1}, which {later_place} uses"
            found = f"found seeds {seeds.start} to {seeds.stop - 1}"
            raise BadInput(f"{FILE}: {place}: tracks: {found}, expected none of {taken}")


def tracks(params: Params) -> Iterator[tuple[str, range]]:
    """The tracks' seeds by use. Rounds that are equally many rounds from the start share theirs."""
    yield "evaluate", _seeds(params.evaluate.seed, params.evaluate.episodes)
    for driver, collect in params.collect.items():
        yield f"collect.{driver}", _seeds(collect.seed, collect.episodes)
    for number in sorted({len(params.rounds_until(name)) for name in params.rounds}):
        first = params.explore.first_track(number)
        yield f"explore (after {number} rounds)", _seeds(first, params.explore.episodes)
    yield "fidelity", _seeds(params.fidelity.seed, params.fidelity.tracks)


def _seeds(first: int, count: int) -> range:
    return range(first, first + count)
