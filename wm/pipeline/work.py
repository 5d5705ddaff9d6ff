"""How much work a stage does by its parameters, and about how long that takes."""

from collections.abc import Callable, Mapping

from wm.params.model import Params
from wm.runtime.stage_log import Note

START_SECONDS = 7.0  # of a stage: start-up, compilation and DVC

# Seconds per unit of work on two cores with AVX-512: the minutes in bench/results/stage_minutes.csv, divided
# by the units of the default profile at that time
SECONDS = {
    "collect": 0.47,
    "process": 0.03,
    "train_vae": 0.0013,
    "encode": 0.15,
    "train_rnn": 3.7e-5,
    "evolve": 5.8e-6,
    "evaluate": 0.83,
    "explore": 0.78,
    "encode_explored": 0.18,
    "fidelity": 0.85,
    "rank": 0.009,
    "report": 3.0,
}


def units(params: Params, name: str) -> float:
    """The units of work of a stage by its name in DVC; 0 for a stage that is not listed here."""
    stage, _, key = name.partition("@")
    try:
        return float(UNITS[stage](params, key))
    except KeyError:
        return 0.0


def collected(params: Params, _: str) -> int:
    """Drives of all scripted drivers."""
    return sum(source.episodes for source in params.collect.values())


def explored(params: Params, _: str) -> int:
    """Drives of a round's agent."""
    return params.explore.episodes


def rnn_updates(params: Params, key: str) -> int:
    """Steps of drives that the RNNs of a round are trained on."""
    windows, steps = params.train_rnn.batch(first=is_first(params, key))
    return rnn_steps(params, key) * (1 + params.initialise.simulators) * windows * steps


def rnn_steps(params: Params, key: str) -> int:
    """Gradient steps of a round's RNNs."""
    return params.train_rnn.schedule(first=is_first(params, key))[0]


def is_first(params: Params, key: str) -> bool:
    """Whether a round starts from untrained RNNs."""
    return params.rounds[key].prev not in params.rounds


def rounds_before(params: Params, key: str) -> int:
    """The number of rounds before this one."""
    return len(params.rounds_until(key)) - 1


def dream_steps(params: Params, key: str) -> int:
    """Dreamt steps of a round's searches."""
    return params.evolve.dream_steps(rounds_before(params, key))


def compared_drives(params: Params, _: str) -> float:
    """Drives of the compared controllers; four plans, or a hundred dreams, take about as long as a drive."""
    settings = params.fidelity
    controllers = len(params.rounds) * (settings.snapshots + len(settings.noise_scales))
    dreams = params.rank.dreams_per_controller / 100
    return controllers * (settings.tracks + dreams) + settings.plans / 4


UNITS: Mapping[str, Callable[[Params, str], float]] = {
    "collect": lambda params, key: params.collect[key].episodes,
    "process": collected,
    "train_vae": lambda params, _: params.train_vae.steps * params.train_vae.batch_size,
    "encode": collected,
    "train_rnn": rnn_updates,
    "evolve": dream_steps,
    "evaluate": lambda params, _: params.evaluate.episodes,
    "explore": explored,
    "encode_explored": explored,
    "fidelity": compared_drives,
    "rank": lambda params, _: params.rank.dreams_per_controller * len(params.rounds),
    "report": lambda params, _: len(params.rounds),
}


def listed_seconds(name: str, units: float) -> float:
    """The seconds that so much of a stage's work takes on the machine that was measured."""
    return START_SECONDS + units * SECONDS.get(name.partition("@")[0], 0.0)


def pace(notes: Mapping[str, Note]) -> float | None:
    """How much longer than listed the noted stages took; None if no stage has run from start to end."""
    measured = {name: note for name, note in notes.items() if note.whole and note.seconds is not None}
    if not measured:
        return None
    listed = sum(listed_seconds(name, note.units) for name, note in measured.items())
    return sum(note.seconds or 0.0 for note in measured.values()) / listed


def expected_seconds(name: str, units: float, notes: Mapping[str, Note]) -> float:
    """The seconds that a stage takes at the pace of its own runs in other rounds, else of all stages."""
    stage = name.partition("@")[0]
    own = pace({other: note for other, note in notes.items() if other.partition("@")[0] == stage})
    return listed_seconds(name, units) * (own or pace(notes) or 1.0)
