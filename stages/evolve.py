"""Evolves the controller of a round in its simulators' dreams: `python -m stages evolve ROUND PREV`."""

from typing import Any, NamedTuple

import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from wm.agent import summary
from wm.data.batches import longest
from wm.data.shards import Shards
from wm.dream.dynamics import Dream, Rules
from wm.dream.scoring import LatentRange, rows, strays, whole_episodes
from wm.dream.starts import StartFrames, unseen_starts
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


class DreamScore(NamedTuple):
    """The summary of whole dreamt episodes, as in dream.json, and the rows of dream.csv, one per episode."""

    summary: dict[str, Any]
    episodes: list[dict[str, Any]]


class Search(NamedTuple):
    """The search with one share of dreams before off-track events, and its controller's dream score."""

    evolved: Evolved
    real: LatentRange  # of the latents of its start states
    score: DreamScore


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
) -> tuple[dict[float, Search], DreamScore]:
    """A search for every share of dreams before off-track events, and the dream score of the one kept."""
    settings, environment = params.evolve, params.environment
    shards, watcher, simulators, previous = inputs
    seed = settings.seed
    start_key, fitness_key, score_key = jr.split(jr.fold_in(jr.key(seed), len(rounds)), 3)
    drives = DriveSample(shards, rounds, settings.newest_share, settings.start_episodes, seed)
    start_frames = unseen_starts(shards).draw(settings.score_episodes, seed)
    repeat = environment.action_repeat
    rules, score_rules = (
        dream_rules(sampling, settings, drives, repeat)
        for sampling in (settings.sampling, settings.score_sampling)
    )
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
    dream, searches = Dream(simulators, watcher, rules, environment.warm_up_frames), {}
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
        real = LatentRange.of(worlds[0].starts)
        score = dream_score(dream, evolved.snapshots[-1], start_frames, real, score_key)
        searches[share] = Search(evolved, real, score)
    best = searches[kept(searches)]
    if score_rules == rules:
        return searches, best.score
    dream = Dream(simulators, watcher, score_rules, environment.warm_up_frames)
    return searches, dream_score(dream, best.evolved.snapshots[-1], start_frames, best.real, score_key)


def kept(searches: dict[float, Search]) -> float:
    """The largest off-track share among the equally good searches, since harder dreams teach more."""
    scores = {share: search.score.summary["score"] for share, search in searches.items()}
    return max(equally_good({share: Estimate(s["mean"], s["sem"]) for share, s in scores.items()}))


def dream_score(
    dream: Dream, best: Controller, frames: StartFrames, real: LatentRange, key: PRNGKeyArray
) -> DreamScore:
    """The score of whole dreamt episodes, and the share of their steps whose latents stray from real ones."""
    episodes = whole_episodes(dream, best, frames, key)
    scored = {
        **summary.of_drives(*(np.asarray(part) for part in episodes)),
        "rules": dream.rules.stored,
        "impossible": bool(episodes.score.mean() > summary.IMPOSSIBLE),
        "strays": round(float(strays(dream, best, frames, key, real)), 4),
    }
    return DreamScore(scored, rows(episodes))


def dream_rules(sampling: Any, settings: Evolve, drives: DriveSample, action_repeat: int) -> Rules:
    """The rules of dreams in which `sampling` names what becomes the next latent."""
    return Rules(
        temperature=settings.temperature,
        stuck_steps=settings.stuck_steps,
        action_repeat=action_repeat,
        sampling=sampling,
        encoder_variance=drives.encoder_variance() if sampling == "denoised" else (),
    )


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


def write(round_name: str, searches: dict[float, Search], score: DreamScore) -> None:
    """Writes the controller that is kept, its snapshots, its curve, its score, and all searches' scores."""
    share = kept(searches)
    evolved, folder, figures = searches[share].evolved, MODELS / round_name, METRICS / round_name
    model_file.save(folder / "controller.eqx", evolved.snapshots[-1])
    model_file.save(folder / "snapshots.eqx", controller.snapshots(evolved.snapshots))
    files.write_csv(figures / "evolve.csv", evolved.curve)
    files.write_json(figures / "dream.json", score.summary)
    files.write_csv(figures / "dream.csv", score.episodes)
    scores = {str(share): search.score.summary["score"] for share, search in searches.items()}
    dreams = {share: {name: score[name] for name in ("mean", "sem")} for share, score in scores.items()}
    files.write_json(figures / "searches.json", {"trouble_share": share, "dream": dreams})
