"""Evolves the controller of a round in its simulators' dreams: `python -m stages evolve ROUND PREV`."""

from typing import Any

import jax.random as jr

from wm.dream.dynamics import Dream, Rules
from wm.dream.starts import unseen_starts
from wm.models import controller
from wm.models.controller import Controller
from wm.params.file import PARAMS
from wm.params.model import Params
from wm.runtime import devices, files, model_file, places, scratch
from wm.runtime.journal import Journal
from wm.runtime.progress import report_resumed
from wm.search import round_search
from wm.search.cma_es import Schedule
from wm.search.evolution import Chance
from wm.search.fitness import Objective
from wm.search.payoff import Payoff
from wm.search.real_drives import DriveSample
from wm.search.round_search import DreamScore, Inputs, RoundSearch, SearchResult, dream_score
from wm.search.start_states import StartMoments
from wm.search.terminal_value import ValueTarget, terminal_values

LATENTS, MODELS, METRICS = places.LATENTS, places.ROUND_MODELS, places.ROUND_METRICS


def main(params: Params, round_name: str, prev: str) -> None:
    devices.join(params.hosts.launcher)
    settings, stage, folder = params.evolve, f"evolve {round_name}", MODELS / round_name
    rounds = params.rounds_until(prev)[::-1]  # newest first
    refine, last = len(rounds) >= settings.from_scratch_rounds, MODELS / prev / "controller.eqx"
    inputs = round_search.read(LATENTS / prev, folder, last if refine else None)
    inputs.check(settings.value_steps, settings.principal_components, f"{PARAMS}: evolve")
    schedule = Schedule(**(settings.refine if refine else settings.search).model_dump())
    shares = settings.off_track_share.refine if refine else settings.off_track_share.search
    values = [settings.model_dump(), params.environment.model_dump()]
    paths = [LATENTS / prev, folder / "rnn.eqx", folder / "simulators.eqx", last]
    with scratch.folder(stage, values, paths) as unfinished:
        devices.share(unfinished)
        journals = {share: Journal(unfinished / f"journal-{share}.jsonl") for share in shares}
        done = sum(journal.generations for journal in journals.values())
        report_resumed(stage, done, schedule.generations * len(journals))
        keys = jr.split(jr.fold_in(jr.key(settings.seed), len(rounds)), 3)
        drives = DriveSample(
            inputs.shards, rounds, settings.newest_share, settings.start_episodes, settings.seed
        )
        searches = of_round(params, inputs, drives, schedule, keys)
        results, scores = {}, {}
        frames = unseen_starts(inputs.shards).draw(settings.score_episodes, settings.seed)
        for share, journal in journals.items():
            label = f"{stage}, off-track share {share}" if len(journals) > 1 else stage
            results[share] = searches.run(share, journal, label)
            scores[share] = dream_score(searches.dream, results[share], frames, keys[2])
        best = round_search.chosen_share(scores)
        dream, score = dreams(params, inputs, drives, settings.score_sampling), scores[best]
        if dream.rules != searches.dream.rules:
            score = dream_score(dream, results[best], frames, keys[2])
        ends = {share: score.summary["score"] for share, score in scores.items()}
        means = {str(share): {name: end[name] for name in ("mean", "sem")} for share, end in ends.items()}
        # searches.json keeps the key of earlier runs, so that its content stays the same
        write(round_name, results[best], score, {"trouble_share": best, "dream": means})


def of_round(
    params: Params, inputs: Inputs, drives: DriveSample, schedule: Schedule, keys: Any
) -> RoundSearch:
    """What the searches of the round have in common."""
    settings, repeat = params.evolve, params.environment.action_repeat
    start_key, fitness_key, _ = keys
    payoff = Payoff(settings.fastest_lap_steps, settings.missed_tile_cost, repeat)
    target = ValueTarget(payoff, settings.value_steps)
    return RoundSearch(
        dream=dreams(params, inputs, drives, settings.sampling),
        values=terminal_values(inputs.simulators, target, drives, start_key),
        moments=StartMoments(drives, settings.starts_per_episode, off_track=0.0, action_repeat=repeat),
        objective=Objective(
            payoff=payoff,
            rollouts=settings.rollouts,
            horizon_steps=settings.horizon_steps,
            cvar_level=settings.cvar_level,
            dropout=settings.dropout,
            precision=settings.precision,
        ),
        zero=Controller(
            features=inputs.features,
            limits=settings.action_limits.pairs,
            pedals=settings.pedal_activation,
        ),
        previous=inputs.previous,
        components=settings.principal_components,
        schedule=schedule,
        snapshot_every=settings.snapshot_every,
        start_key=start_key,
        chance=Chance(settings.seed + len(drives.rounds) + 1, fitness_key),
    )


def dreams(params: Params, inputs: Inputs, drives: DriveSample, sampling: Any) -> Dream:
    """The round's dreams, in which `sampling` names what becomes the next latent."""
    rules = Rules(
        temperature=params.evolve.temperature,
        stuck_steps=params.evolve.stuck_steps,
        action_repeat=params.environment.action_repeat,
        sampling=sampling,
        encoder_variance=drives.encoder_variance() if sampling == "denoised" else (),
    )
    return Dream(inputs.simulators, inputs.watcher, rules, params.environment.warm_up_frames)


def write(round_name: str, search: SearchResult, score: DreamScore, searches: dict[str, Any]) -> None:
    """Writes the kept search's controller, snapshots, curve and score, and the scores of all searches."""
    folder, figures = MODELS / round_name, METRICS / round_name
    model_file.save(folder / "controller.eqx", search.best)
    model_file.save(folder / "snapshots.eqx", controller.snapshots(search.evolved.snapshots))
    files.write_csv(figures / "evolve.csv", search.evolved.curve)
    files.write_json(figures / "dream.json", score.summary)
    files.write_csv(figures / "dream.csv", score.episodes)
    files.write_json(figures / "searches.json", searches)
