"""Evolves the controller of a round in the dreams of its RNNs: `python -m stages evolve ROUND PREV`."""

from typing import Any

import jax.random as jr

from wm.dream.starts import unseen_starts
from wm.models import controller, rnn_files
from wm.params.file import PARAMS
from wm.params.model import Params
from wm.runtime import devices, files, model_file, places, scratch
from wm.runtime.journal import Journal
from wm.runtime.progress import report_resumed
from wm.search import round_search
from wm.search.cma_es import Schedule
from wm.search.evolution import Chance
from wm.search.real_drives import DriveSample
from wm.search.round_search import DreamScore, SearchResult, dream_score
from wm.search.searches import dreams, from_zero, of_round
from wm.search.start_states import StartMoments

LATENTS, MODELS, METRICS = places.LATENTS, places.ROUND_MODELS, places.ROUND_METRICS


def main(params: Params, round_name: str, prev: str) -> None:
    devices.join(params.hosts.launcher)
    settings, stage, folder = params.evolve, f"evolve {round_name}", MODELS / round_name
    rounds = params.rounds_until(prev)[::-1]  # newest first
    last = MODELS / prev / "controller.eqx"
    inputs = round_search.read(LATENTS / prev, folder, last if settings.refines(len(rounds)) else None)
    inputs.check(settings.value_steps, settings.principal_components, f"{PARAMS}: evolve")
    search, shares = settings.searches(len(rounds))
    values = [settings.model_dump(), params.environment.model_dump()]
    paths = [LATENTS / prev, *rnn_files.paths(folder), last]
    with scratch.folder(stage, values, paths) as unfinished:
        devices.share(unfinished)
        journals = {share: Journal(unfinished / f"journal-{share}.jsonl") for share in shares}
        done = sum(journal.generations for journal in journals.values())
        report_resumed(stage, done, search.generations * len(journals))
        round_key = jr.fold_in(jr.key(settings.seed), len(rounds))
        start_key, dream_key, score_key, ascent_key = jr.split(round_key, 4)
        chance = Chance(settings.seed + len(rounds) + 1, start_key, dream_key, ascent_key)
        drives = DriveSample(
            inputs.shards, rounds, settings.newest_share, settings.start_episodes, settings.seed
        )
        searches = of_round(
            settings, params.environment, inputs, drives, Schedule(**search.model_dump()), chance
        )
        begins = not settings.refines(len(rounds)) and settings.ascent.updates.from_zero > 0
        first_steps = from_zero(settings, searches, drives) if begins else None
        dreamt, results, scores = searches.goal.dream, {}, {}
        frames = unseen_starts(inputs.shards).draw(settings.score_episodes, settings.seed)
        for share, journal in journals.items():
            label = f"{stage}, off-track share {share}" if len(journals) > 1 else stage
            moments = StartMoments(
                drives,
                per_drive=settings.starts_per_episode,
                off_track=share,
                lead=settings.off_track_lead,
                action_repeat=params.environment.action_repeat,
            )
            started = searches
            if first_steps:
                started = searches.refining(first_steps.ascended(moments, f"{label}, from zero"))
            results[share] = started.run(moments, journal, label)
            scores[share] = dream_score(dreamt, results[share], frames, score_key)
        best = round_search.chosen_share(scores)
        dream, score = (
            dreams(settings, params.environment, inputs, drives, settings.score_sampling),
            scores[best],
        )
        if dream.rules != dreamt.rules:
            score = dream_score(dream, results[best], frames, score_key)
        ends = {share: score.summary["score"] for share, score in scores.items()}
        means = {str(share): {name: end[name] for name in ("mean", "sem")} for share, end in ends.items()}
        write(round_name, results[best], score, {"off_track_share": best, "search_score": means})


def write(round_name: str, search: SearchResult, score: DreamScore, searches: dict[str, Any]) -> None:
    """Writes the kept search's controller, snapshots, curve and score, and the scores of all searches."""
    folder, figures = MODELS / round_name, METRICS / round_name
    model_file.save(folder / "controller.eqx", search.best)
    model_file.save(folder / "snapshots.eqx", controller.snapshots(search.evolved.snapshots))
    files.write_csv(figures / "evolve.csv", search.evolved.curve)
    files.write_json(figures / "dream.json", score.summary)
    files.write_csv(figures / "dream.csv", score.episodes)
    files.write_json(figures / "searches.json", searches)
