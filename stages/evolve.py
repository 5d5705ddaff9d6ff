"""Evolves the controller of a round in its simulators' dreams: `python -m stages evolve ROUND PREV`."""

from typing import Any, NamedTuple

import jax.random as jr
import numpy as np

from wm.agent import summary
from wm.data.batches import longest
from wm.data.shards import Shards
<<<<<<< HEAD
from wm.dream import scoring
from wm.dream.dynamics import Dream, Outcome, Rules, Simulation, apply_stuck_rule
from wm.dream.scoring import LatentRange, strays, whole_episodes
from wm.dream.starts import Starts, starts_at, unseen_starts
from wm.dream.unroll import unroll
=======
from wm.dream.dynamics import Rules
from wm.dream.scoring import Range, strays, whole_episodes
from wm.dream.starts import FirstSight, unseen_starts
>>>>>>> f5efc44 (The search lives in wm/search: start moments, payoff, terminal value, fitness, space, evolution; training's batches in wm/models/rnn_data and wm/data/resident; stages read, call and write)
from wm.errors import BadInput
from wm.models import controller
from wm.models.controller import Controller
from wm.models.rnn import RNN, Ensemble
from wm.params.evolve import Evolve
from wm.params.file import PARAMS
from wm.params.model import Params
from wm.runtime import devices, files, model_file, places, scratch
from wm.runtime.journal import Journal
from wm.runtime.progress import progress, report_resumed
from wm.search import space
from wm.search.cma_es import Schedule
from wm.search.evolution import Chance, Evolved, evolve, recorded
from wm.search.fitness import Objective, Problem, worlds_at
from wm.search.payoff import Payoff
from wm.search.real_drives import DriveSample
from wm.search.selection import Estimate, equally_good
from wm.search.start_states import StartMoments
from wm.search.terminal_value import ValueTarget, terminal_value

LATENTS, MODELS, METRICS = places.LATENTS, places.ROUND_MODELS, places.ROUND_METRICS


class Inputs(NamedTuple):
    """What the stage reads; `previous` is the controller of the round before, if the search refines it."""

    shards: Shards
    watcher: RNN
    simulators: list[RNN]
    previous: Controller | None


class Search(NamedTuple):
    """The search with one share of dreams before off-track events, and its controller's dream score."""

    problem: Problem
    evolved: Evolved
    score: dict[str, Any]


def main(params: Params, round_name: str, prev: str) -> None:
    devices.join(params.hosts)
    settings, stage = params.evolve, f"evolve {round_name}"
    rounds = params.rounds_until(prev)[::-1]  # newest first
    refine = len(rounds) >= settings.from_scratch_rounds
    inputs = read(round_name, prev, refine=refine)
    check(settings, inputs.shards, inputs.watcher.latent_size + inputs.watcher.hidden_size)
    schedule = Schedule(**(settings.refine if refine else settings.search).model_dump())
    shares = settings.off_track_share.refine if refine else settings.off_track_share.search
    values, folder = [settings.model_dump(), params.environment.model_dump()], MODELS / round_name
    paths = [LATENTS / prev, folder / "rnn.eqx", folder / "simulators.eqx", MODELS / prev / "controller.eqx"]
    with scratch.folder(stage, values, paths) as unfinished:
        devices.share(unfinished)
        journals = {share: Journal(unfinished / f"journal-{share}.jsonl") for share in shares}
        done = sum(journal.generations for journal in journals.values())
        report_resumed(stage, done, schedule.generations * len(journals))
        searches, score = search(params, inputs, rounds, schedule, journals, stage)
        write(round_name, searches, score)


def search(
    params: Params,
    inputs: Inputs,
    rounds: list[str],
    schedule: Schedule,
    journals: dict[float, Journal],
    stage: str,
) -> tuple[dict[float, Search], dict[str, Any]]:
    """A search for every share of dreams before off-track events, and the dream score of the one kept."""
    settings, environment = params.evolve, params.environment
    shards, watcher, simulators, previous = inputs
    seed = settings.seed
    start_key, fitness_key, score_key = jr.split(jr.fold_in(jr.key(seed), len(rounds)), 3)
    drives = DriveSample(shards, rounds, settings.newest_share, settings.start_episodes, seed)
    first_frames = unseen_starts(shards).draw(settings.score_episodes, seed)
    frames, repeat = environment.warm_up_frames, environment.action_repeat
    rules, score_rules = (
        dream_rules(sampling, settings, drives, repeat)
        for sampling in (settings.sampling, settings.score_sampling)
    )
<<<<<<< HEAD
    simulators = ensemble.members or [model]
    values = [value_of_moments(one, shards, settings, before, rules, start_key) for one in simulators]
    found: dict[float, Searched] = {}
    for share, journal in journals.items():
        worlds = [
            World(one, start_pool(one, model, shards, settings, share, before, rules, start_key), value)
            for one, value in zip(simulators, values, strict=True)
        ]
        label = f"evolve {round_name}" + (f", {share} before troubles" if len(journals) > 1 else "")
        seed = settings.seed + len(before) + 1
        curve, snapshots = searched(
            worlds, model, last, settings, search, rules, journal, fitness_key, seed, label
        )
        score = dream_score(worlds, model, snapshots[-1], shards, settings, environment, rules, score_key)
        found[share] = Searched(worlds, curve, snapshots, score)
    scores = {share: one.score["score"] for share, one in found.items()}
    kept = kept_share(scores)
    score = found[kept].score
    if told != rules:
        worlds, _, snapshots, _ = found[kept]
        score = dream_score(worlds, model, snapshots[-1], shards, settings, environment, told, score_key)
    folder, figures = MODELS / round_name, METRICS / round_name
    model_file.save(folder / "controller.eqx", found[kept].snapshots[-1])
    model_file.save(folder / "snapshots.eqx", controller.snapshots(found[kept].snapshots))
    files.write_csv(figures / "evolve.csv", found[kept].curve)
    files.write_json(figures / "dream.json", score)
    dreams = {str(share): {name: score[name] for name in ("mean", "sem")} for share, score in scores.items()}
    files.write_json(figures / "searches.json", {"trouble_share": kept, "dream": dreams})


def rules_of(
    sampling: Any, shards: Shards, settings: Evolve, environment: Environment, before: list[str]
) -> Rules:
    """The rules of dreams that take this for the next latent."""
    variance = encoder_variance(shards, settings, before) if sampling == "denoised" else ()
    return Rules(
        temperature=settings.temperature,
        stuck_steps=settings.stuck_steps,
        action_repeat=environment.action_repeat,
        sampling=sampling,
        encoder_variance=variance,
    )


def kept_share(scores: dict[float, dict[str, Any]]) -> float:
    """The largest share of dreams before troubles whose controller dreams as well as the best one.

    As well is within a standard error of the best one's score in whole dreams, which cannot tell those apart;
    and more troubles teach more.

    Source: the one-standard-error rule, as in `stages.rank.chosen`.
    """
    best = max(scores.values(), key=lambda score: score["mean"])
    return max(share for share, score in scores.items() if score["mean"] >= best["mean"] - best["sem"])


def searched(
    worlds: list[World],
    model: RNN,
    last: Controller | None,
    settings: Evolve,
    search: Schedule,
    rules: Rules,
    journal: Journal,
    key: jax.Array,
    seed: int,
    label: str,
) -> tuple[list[dict[str, Any]], list[Controller]]:
    """A search's curve and snapshots, from its start to its end."""
    first = Controller(
        features=model.latent_size + model.hidden_size,
        limits=settings.action_limits.pairs,
        pedals=settings.pedal_activation,
    )
    basis = coordinates(worlds[0].starts, settings)
    start = basis.coordinates(last) if last else jnp.zeros(basis.coordinates(first).shape)
    as_controller = partial(basis.controller, first)
    fitness = dream_fitness(worlds, model, as_controller, settings, rules, key)
    generations = evolve(fitness, np.asarray(start), search, seed=seed, journal=journal)
    curve, snapshots, total = [], [as_controller(start)], search.generations
    for generation in progress(generations, label, total):
        best = as_controller(jnp.asarray(generation.mean, jnp.float32))
        curve.append(
            {name: round(value, 4) for name, value in generation._asdict().items() if name != "mean"}
        )
        if (generation.number + 1) % settings.snapshot_every == 0 or generation.number + 1 == total:
            snapshots.append(best)
    return curve, snapshots


def drives(
    shards: Shards, drawn: list[Record], length: int
) -> Iterator[tuple[list[Record], dict[str, np.ndarray], int]]:
    """The drawn drives side by side, padded to `length`: records, columns, the number of the first.

    Those that fill no batch at the end are left out.
    """
    size = min(DRIVES_AT_ONCE, len(drawn))
    for start in range(0, len(drawn) - size + 1, size):
        chosen = drawn[start : start + size]
        yield chosen, stacked(shards, chosen, length), start


def start_pool(
    simulator: RNN,
    watcher: RNN,
    shards: Shards,
    settings: Evolve,
    troubled: float,
    before: list[str],
    rules: Rules,
    key: jax.Array,
) -> Starts:
    """Moments of training drives, a share `troubled` of them shortly before a trouble, as far as any drive
    had one; the same ones for every simulator."""
    rng, choose = np.random.default_rng(settings.seed + 1), eqx.filter_jit(starts_at)
    records, count = shards.kept(validation=False), settings.starts_per_episode
    drawn, smooth = start_drives(shards, settings, troubled, before, rules.action_repeat)
    pool, simulation = [], Simulation(simulator, watcher, rules)
    for chosen, columns, number in drives(shards, drawn, longest(records)):
        times = []
        for i, one in enumerate(chosen):
            rewards = columns["reward"][i, : one.length]
            if number + i < smooth:
                times.append(anywhere(rewards, count, rng))
            else:
                times.append(before_troubles(rewards, count, rng, rules.action_repeat))
        batch = rnn.to_batch(columns)
        moments = jnp.asarray(np.stack(times))
        pool.append(choose(simulation, batch, moments, jr.fold_in(key, number)))
    flat = [jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), one) for one in pool]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *flat)


def encoder_variance(shards: Shards, settings: Evolve, before: list[str]) -> tuple[float, ...]:
    """Of each dimension, the mean over moments of training drives, the newer the likelier."""
    rng = np.random.default_rng(settings.seed)
    drawn = draw(shards.kept(validation=False), before, settings.newest_share, settings.start_episodes, rng)
    logvar = np.concatenate([shards.read(record).observations["logvar"] for record in drawn])
    return tuple(round(float(one), 6) for one in np.exp(logvar).mean(axis=0))


def start_drives(
    shards: Shards, settings: Evolve, troubled: float, before: list[str], action_repeat: int
) -> tuple[list[Record], int]:
    """Training drives that dreams start from, the newer the likelier, and how many of them, the first ones,
    are of all drives; the others, a share `troubled`, had troubles."""
    records, rng = shards.kept(validation=False), np.random.default_rng(settings.seed)
    unlucky = [record for record in records if len(troubles(shards.read(record).rewards, action_repeat))]
    smooth = settings.start_episodes - round(troubled * settings.start_episodes if unlucky else 0)
    counts = (records, smooth), (unlucky, settings.start_episodes - smooth)
    drawn = [draw(some, before, settings.newest_share, count, rng) for some, count in counts if count]
    return [record for some in drawn for record in some], smooth


def value_of_moments(
    simulator: RNN, shards: Shards, settings: Evolve, before: list[str], rules: Rules, key: jax.Array
) -> Value:
    """The value fitted to training drives, at no more than the pace of a lap."""
    steps = settings.value_steps
    frames = FRAME_REWARD * rules.action_repeat
    pace = LAP_POINTS / settings.fastest_lap_steps + frames

    @eqx.filter_jit
    def remembered(batch: rnn.Batch, key: jax.Array) -> jax.Array:
        hidden = rnn.unroll(simulator, rnn.sample_latents(batch, key), batch.action).hidden
        return jnp.swapaxes(hidden, 0, 1)

    def samples(validation: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        records, rng = shards.kept(validation=validation), np.random.default_rng(settings.seed)
        drawn = draw(records, before, settings.newest_share, settings.start_episodes, rng)
        for chosen, columns, number in drives(shards, drawn, longest(records)):
            hidden = np.asarray(remembered(rnn.to_batch(columns), jr.fold_in(key, number)))
            for i, record in enumerate(chosen):
                rewards = np.minimum(columns["reward"][i, : record.length], pace)
                missed = np.minimum(columns["missed"][i, : record.length], rnn.MOST_MISSED)
                points = value.to_come(rewards - settings.missed_tile_cost * missed, steps)[::VALUE_EVERY]
                yield hidden[i, : len(points) * VALUE_EVERY : VALUE_EVERY], points

    least = frames * steps - settings.missed_tile_cost * rnn.MOST_MISSED
    found = value.fit(samples(validation=False), least=least, most=pace * steps, seed=settings.seed)
    explained = value.explained(found, samples(validation=True))
    print(f"the value explains {explained:.0%} of what {steps} steps of unseen drives bring")
    return found


def anywhere(
    rewards: Float[np.ndarray, " steps"], count: int, rng: np.random.Generator
) -> Int[np.ndarray, " count"]:
    """Moments of a real drive to dream on from."""
    return rng.integers(len(rewards), size=count)


def before_troubles(
    rewards: Float[np.ndarray, " steps"], count: int, rng: np.random.Generator, action_repeat: int
) -> Int[np.ndarray, " count"]:
    """Moments shortly before any of a real drive's troubles, of which there must be one."""
    lead = rng.integers(*[round(frames / action_repeat) for frames in TROUBLE_AHEAD], size=count)
    return np.maximum(rng.choice(troubles(rewards, action_repeat), size=count) - lead, 0)


def troubles(rewards: Float[np.ndarray, " steps"], action_repeat: int) -> Int[np.ndarray, " trouble"]:
    """The steps from which on a drive that was winning tiles wins none for a while."""
    idle_steps = max(round(IDLE_FRAMES / action_repeat), 1)
    if len(rewards) <= idle_steps:
        return np.zeros(0, int)
    idle = np.lib.stride_tricks.sliding_window_view(rewards, idle_steps).max(axis=1)[1:] < 0
    return np.flatnonzero(idle & (rewards[: len(idle)] > 0)) + 1


def check_steps(shards: Shards, settings: Evolve) -> None:
    """Refuses more steps to come than the longest drive has."""
    for validation in (False, True):
        steps, length = settings.value_steps, longest(shards.kept(validation=validation))
        if steps >= length:
            place = f"{PARAMS}: evolve.value_steps"
            raise BadInput(
                f"{place}: found {steps}, wanted less than {length}, a drive's most in {shards.folder}"
            )


def check_components(settings: Evolve, features: int) -> None:
    """Refuses more directions than there are."""
    if settings.principal_components > features:
        place, found = f"{PARAMS}: evolve.principal_components", settings.principal_components
        raise BadInput(f"{place}: found {found}, wanted {features} at most, what the controller sees")


def coordinates(starts: Starts, settings: Evolve) -> Basis:
    """The main directions of what the controller sees at the starts of dreams."""
    z = starts.sample(jr.key(settings.seed))
    seen = np.concatenate([z, starts.watched.hidden], axis=-1)
    return controller.principal_components(seen, settings.principal_components)


def dream_fitness(
    worlds: list[World],
    watcher: RNN,
    as_controller: Callable[[jax.Array], Controller],
    settings: Evolve,
    rules: Rules,
    key: jax.Array,
):
    """The worth of each candidate's dreams in a generation, their returns and the values of their ends, by
    `conditional_value_at_risk`; the simulators make them in turn. One jitted call."""
    in_precision = partial(rnn.in_precision, precision=settings.precision)

    worlds = [world._replace(simulator=in_precision(world.simulator)) for world in worlds]
    watcher = in_precision(watcher)

    @eqx.filter_jit
    def returns(worlds: list[World], watcher: RNN, candidates: jax.Array, key: jax.Array) -> jax.Array:
        start_key, dream_key = jr.split(key)
        pool = len(worlds[0].starts.mu)
        chosen = jr.choice(start_key, pool, (settings.rollouts,), replace=False)
        population, found = jax.vmap(as_controller)(candidates), []
        for i, world in enumerate(worlds):
            turn = chosen[i :: len(worlds)]
            starts = jax.tree.map(lambda leaf, turn=turn: leaf[turn], world.starts)
            noise_key = jr.fold_in(dream_key, i)
            simulation = Simulation(world.simulator, watcher, rules, settings.dropout)
            end, outcome, _, _ = unroll(
                simulation, population, starts, noise_key, steps=settings.horizon_steps
            )
            outcome = within_lap(apply_stuck_rule(outcome, rules), settings, rules)
            missed = settings.missed_tile_cost * outcome.missed.sum(axis=0)
            found.append(scoring.returns(outcome) - missed + world.value(end.memory.hidden))
        return conditional_value_at_risk(jnp.concatenate(found, axis=-1), settings.cvar_level)

    def fitness(generation: int, candidates: np.ndarray) -> np.ndarray:
        vectors = devices.split(jnp.asarray(candidates, jnp.float32))
        return devices.whole(returns(worlds, watcher, vectors, jr.fold_in(key, generation)))

    return fitness
=======
    zero = Controller(
        features=watcher.latent_size + watcher.hidden_size,
        limits=settings.action_limits.pairs,
        pedals=settings.pedal_activation,
    )
    payoff = Payoff(settings.fastest_lap_steps, settings.missed_tile_cost, repeat)
    objective = Objective(
        payoff=payoff,
        rollouts=settings.rollouts,
        horizon_steps=settings.horizon_steps,
        cvar_level=settings.cvar_level,
        dropout=settings.dropout,
        precision=settings.precision,
    )
    target, values = ValueTarget(payoff, settings.value_steps), []
    for simulator in simulators:
        value, explained = terminal_value(simulator, target, drives, start_key)
        print(f"terminal value: explains {explained:.0%} of the variance on validation drives")
        values.append(value)
    searches = {}
    for share, journal in journals.items():
        moments = StartMoments(drives, settings.starts_per_episode, share, repeat)
        worlds = worlds_at(moments, simulators, values, watcher, rules, start_key)
        problem = Problem(worlds, watcher, rules, objective)
        coordinates = space.at_starts(zero, worlds[0].starts, settings.principal_components, jr.key(seed))
        start = coordinates.start(previous)
        chance = Chance(seed + len(rounds) + 1, fitness_key)
        steps = evolve(problem, coordinates, np.asarray(start), schedule, chance, journal)
        label = f"{stage}, off-track share {share}" if len(journals) > 1 else stage
        evolved = recorded(
            coordinates.controller(start),
            progress(steps, label, schedule.generations),
            snapshot_every=settings.snapshot_every,
            generations=schedule.generations,
        )
        score = dream_score(problem, evolved.snapshots[-1], first_frames, rules, frames, score_key)
        searches[share] = Search(problem, evolved, score)
    best = searches[kept(searches)]
    if score_rules == rules:
        return searches, best.score
    last = best.evolved.snapshots[-1]
    return searches, dream_score(best.problem, last, first_frames, score_rules, frames, score_key)
>>>>>>> f5efc44 (The search lives in wm/search: start moments, payoff, terminal value, fitness, space, evolution; training's batches in wm/models/rnn_data and wm/data/resident; stages read, call and write)


def kept(searches: dict[float, Search]) -> float:
    """The largest off-track share among the equally good searches, since harder dreams teach more."""
    scores = {share: search.score["score"] for share, search in searches.items()}
    return max(equally_good({share: Estimate(s["mean"], s["sem"]) for share, s in scores.items()}))


def dream_score(
    problem: Problem, best: Controller, first: FirstSight, rules: Rules, warm_up_frames: int, key: Any
) -> dict[str, Any]:
<<<<<<< HEAD
    """Whole dreamt episodes from the starts of tracks that no model was trained on."""
    dream = Dream([world.simulator for world in worlds], watcher, rules, environment.warm_up_frames)
    starts = unseen_starts(shards).draw(settings.score_episodes, settings.seed)
    dreamt = whole_episodes(dream, best, starts, key)
    real = LatentRange.of(worlds[0].starts)
=======
    """The score in whole dreamt episodes that start at these first frames."""
    simulators = [world.simulator for world in problem.worlds]
    episodes: Any = simulators, problem.watcher, best, *first, rules, warm_up_frames, key
    dreamt = whole_episodes(*episodes)
    stray = strays(*episodes, real=Range.of(problem.worlds[0].starts))
>>>>>>> f5efc44 (The search lives in wm/search: start moments, payoff, terminal value, fitness, space, evolution; training's batches in wm/models/rnn_data and wm/data/resident; stages read, call and write)
    return {
        **summary.of_drives(*(np.asarray(part) for part in dreamt)),
        "rules": rules.stored,
        "impossible": bool(dreamt.score.mean() > summary.IMPOSSIBLE),
<<<<<<< HEAD
        "strays": round(float(strays(dream, best, starts, key, real)), 4),
=======
        "strays": round(float(stray), 4),
>>>>>>> f5efc44 (The search lives in wm/search: start moments, payoff, terminal value, fitness, space, evolution; training's batches in wm/models/rnn_data and wm/data/resident; stages read, call and write)
    }


def dream_rules(sampling: str, settings: Evolve, drives: DriveSample, action_repeat: int) -> Rules:
    """The rules of dreams in which `sampling` names what becomes the next latent."""
    rules = Rules(settings.temperature, settings.stuck_steps, action_repeat, sampling)
    return rules._replace(encoder_variance=drives.encoder_variance()) if rules.denoised else rules


def read(round_name: str, prev: str, *, refine: bool) -> Inputs:
    """The inputs. Raises BadInput for files that do not fit together."""
    shards, folder = Shards(LATENTS / prev), MODELS / round_name
    watcher = model_file.load(folder / "rnn.eqx", RNN)
    ensemble = model_file.load(folder / "simulators.eqx", Ensemble)
    model_file.check_sizes(folder / "simulators.eqx", ensemble.stacked, watcher)
    shards.expect_latents(watcher.latent_size)
    path = MODELS / prev / "controller.eqx"
    previous = model_file.load(path, Controller) if refine else None
    if previous:
        features = watcher.latent_size + watcher.hidden_size
        model_file.check(path, "features", previous.weight.shape[-1], features)
    return Inputs(shards, watcher, ensemble.members or [watcher], previous)


def check(settings: Evolve, shards: Shards, features: int) -> None:
    """Raises BadInput for parameters that ask for more than the drives or the controller have."""
    steps, components = settings.value_steps, settings.principal_components
    length = min(longest(shards.kept(validation=validation)) for validation in (False, True))
    if steps >= length:
        longest_drive = f"the length of the longest drive in {shards.folder}"
        raise BadInput(
            f"{PARAMS}: evolve.value_steps: found {steps}, expected less than {length}, {longest_drive}"
        )
    if components > features:
        place = f"{PARAMS}: evolve.principal_components: found {components}"
        raise BadInput(f"{place}, expected at most {features}, the number of the controller's features")


def write(round_name: str, searches: dict[float, Search], score: dict[str, Any]) -> None:
    """Writes the controller that is kept, its snapshots, its curve, its score, and all searches' scores."""
    share = kept(searches)
    evolved, folder, figures = searches[share].evolved, MODELS / round_name, METRICS / round_name
    model_file.save(folder / "controller.eqx", evolved.snapshots[-1])
    model_file.save(folder / "snapshots.eqx", controller.snapshots(evolved.snapshots))
    files.write_csv(figures / "evolve.csv", evolved.curve)
    files.write_json(figures / "dream.json", score)
    scores = {str(share): search.score["score"] for share, search in searches.items()}
    dreams = {share: {name: score[name] for name in ("mean", "sem")} for share, score in scores.items()}
    files.write_json(figures / "searches.json", {"trouble_share": share, "dream": dreams})
