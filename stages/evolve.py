"""Evolves the controller of a round inside its simulators' dreams: `python -m stages evolve r0 init`."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from wm.agent import summary
from wm.data.batches import draw, longest, stacked
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.dream import scoring
from wm.dream.dynamics import Dream, Outcome, Rules, Simulation, apply_stuck_rule
from wm.dream.scoring import LatentRange, strays, whole_episodes
from wm.dream.starts import Starts, starts_at, unseen_starts
from wm.dream.unroll import unroll
from wm.errors import BadInput
from wm.models import controller, rnn, value
from wm.models.controller import Basis, Controller
from wm.models.rnn import RNN, Ensemble
from wm.models.value import Value
from wm.params.environment import Environment
from wm.params.evolve import Evolve
from wm.params.file import PARAMS
from wm.params.model import Params
from wm.runtime import devices, files, model_file, places, scratch
from wm.runtime.journal import Journal
from wm.runtime.progress import progress, report_resumed
from wm.search.cma_es import Schedule, evolve
from wm.spec import FRAME_REWARD, LAP_POINTS

LATENTS, MODELS, METRICS = places.LATENTS, places.ROUND_MODELS, places.ROUND_METRICS

VALUE_EVERY = 3  # steps: neighbours tell nothing new
IDLE_FRAMES = 40  # without a tile, after which a real drive counts as in trouble
TROUBLE_AHEAD = (12, 100)  # frames from the start of a dream to the trouble that the real drive got into

DRIVES_AT_ONCE = 32  # side by side in memory


def main(params: Params, round_name: str, prev: str) -> None:
    devices.join(params.hosts)
    settings = params.evolve
    environment = params.environment
    values = [settings.model_dump(), environment.model_dump()]
    before = params.rounds_until(prev)[::-1]
    models = [MODELS / round_name / "rnn.eqx", MODELS / round_name / "simulators.eqx"]
    inputs = [LATENTS / prev, *models, MODELS / prev / "controller.eqx"]
    given = Given.read(round_name, prev, settings, before)
    search = Schedule(**(settings.refine if given.last else settings.search).model_dump())
    stage = f"evolve {round_name}"
    with scratch.folder(stage, values, inputs) as unfinished:
        devices.share(unfinished)
        shares = settings.off_track_share.refine if given.last else settings.off_track_share.search
        journals = {share: Journal(unfinished / f"journal-{share}.jsonl") for share in shares}
        done = sum(journal.generations for journal in journals.values())
        report_resumed(stage, done, search.generations * len(journals))
        run(round_name, before, given, settings, search, environment, journals)


class Given(NamedTuple):
    """What a round's evolution starts from; `last` is the controller of the round before, if it does."""

    shards: Shards
    model: RNN
    ensemble: Ensemble
    last: Controller | None

    @staticmethod
    def read(round_name: str, prev: str, settings: Evolve, before: list[str]) -> "Given":
        """From disk. Raises BadInput, where the parts do not fit together or the parameters ask too much."""
        shards = Shards(LATENTS / prev)
        model = model_file.load(MODELS / round_name / "rnn.eqx", RNN)
        ensemble = model_file.load(MODELS / round_name / "simulators.eqx", Ensemble)
        model_file.check_sizes(MODELS / round_name / "simulators.eqx", ensemble.stacked, model)
        shards.expect_latents(model.latent_size)
        features = model.latent_size + model.hidden_size
        check_steps(shards, settings)
        check_components(settings, features)
        if len(before) < settings.from_scratch_rounds:
            return Given(shards, model, ensemble, None)
        path = MODELS / prev / "controller.eqx"
        last = model_file.load(path, Controller)
        model_file.check(path, "features", last.weight.shape[-1], features)
        return Given(shards, model, ensemble, last)


class World(NamedTuple):
    """A simulator, the moments that its dreams go on from, and the value of those in which they end."""

    simulator: RNN
    starts: Starts
    value: Value


class Searched(NamedTuple):
    """What a search came to: its worlds, its curve, its snapshots, of which the last is its end, that one's
    score in whole dreams like those of the search."""

    worlds: list[World]
    curve: list[dict[str, Any]]
    snapshots: list[Controller]
    score: dict[str, Any]


def run(
    round_name: str,
    before: list[str],
    given: Given,
    settings: Evolve,
    search: Schedule,
    environment: Environment,
    journals: dict[float, Journal],
) -> None:
    """The round's evolution, from its journals on: one for each share of dreams before troubles, of which the
    one is kept that `kept_share` names."""
    start_key, fitness_key, score_key = jr.split(jr.fold_in(jr.key(settings.seed), len(before)), 3)
    shards, model, ensemble, last = given
    rules, told = (
        rules_of(sampling, shards, settings, environment, before)
        for sampling in (settings.sampling, settings.score_sampling)
    )
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


def conditional_value_at_risk(
    worth: Float[Array, "population start"], level: float
) -> Float[Array, " population"]:
    """The mean of all dreams, less how far each candidate's worst ones, a share `level` of them, fall short
    of what all candidates have from the same start on average (CVaR; Rockafellar and Uryasev 2000). Not
    finite for a candidate with a dream that is not."""
    if level == 1:
        return worth.mean(axis=-1)
    finite = jnp.isfinite(worth).all(axis=-1)
    usual = worth.mean(axis=0, where=finite[:, None])
    worst = max(1, round(level * worth.shape[-1]))
    cautious = usual.mean() + jnp.sort(worth - usual, axis=-1)[:, :worst].mean(axis=-1)
    return jnp.where(finite, cautious, jnp.nan)


def within_lap(outcome: Outcome, settings: Evolve, rules: Rules) -> Outcome:
    """The outcome, time first, without what comes after the horizon's share of a lap has been won."""
    share = LAP_POINTS * settings.horizon_steps / settings.fastest_lap_steps
    won = jnp.cumsum(outcome.reward - FRAME_REWARD * rules.action_repeat, axis=0)
    before = jnp.concatenate([jnp.zeros_like(won[:1]), won[:-1]])
    driving = jnp.cumprod(before < share, axis=0).astype(bool)
    return jax.tree.map(lambda part: jnp.where(driving, part, 0), outcome)


def dream_score(
    worlds: list[World],
    watcher: RNN,
    best: Controller,
    shards: Shards,
    settings: Evolve,
    environment: Environment,
    rules: Rules,
    key: jax.Array,
) -> dict[str, Any]:
    """Whole dreamt episodes from the starts of tracks that no model was trained on."""
    dream = Dream([world.simulator for world in worlds], watcher, rules, environment.warm_up_frames)
    starts = unseen_starts(shards).draw(settings.score_episodes, settings.seed)
    dreamt = whole_episodes(dream, best, starts, key)
    real = LatentRange.of(worlds[0].starts)
    return {
        **summary.of_drives(*(np.asarray(part) for part in dreamt)),
        "rules": rules.stored,
        "impossible": bool(dreamt.score.mean() > summary.IMPOSSIBLE),
        "strays": round(float(strays(dream, best, starts, key, real)), 4),
    }
