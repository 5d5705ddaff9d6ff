"""Ranks all rounds' controllers in the same dreams, and chooses a round: `python -m stages rank`.

The simulators of the last rounds generate the dreams, which start from the last round's start frames.
"""

from typing import Any

import jax.random as jr

from wm.dream.dynamics import Dream
from wm.dream.results import DreamResult
from wm.dream.starts import read_starts
from wm.fidelity.ranking import Ranked, dream_scores, ranks
from wm.models import rnn_files
from wm.models.controller import Snapshots
from wm.params.model import Params
from wm.runtime import files, model_file, results
from wm.runtime.places import METRICS, ROUND_METRICS, ROUND_MODELS
from wm.runtime.progress import progress


def main(params: Params) -> None:
    settings, rounds = params.rank, list(params.rounds)
    last = rounds[-1]
    ranked = {name: read(name) for name in rounds}
    newest = rounds[-settings.simulator_rounds :]
    simulators = [simulator for name in newest for simulator in ranked[name].rnns.simulators]
    scored = results.read(ROUND_METRICS / last / "dream.json", DreamResult)
    # with the encoder's noise, which makes dreams harder and so sets good drivers apart from fair ones
    rules = scored.rules.replace(sampling="sampled", encoder_variance=())
    starts = read_starts(ROUND_MODELS / last / "starts.npz", simulators[0].latent_size)
    starts = starts.draw(settings.dreams_per_controller, settings.seed)
    rows: list[dict[str, Any]] = []
    for name in progress(rounds, "ranking in dreams", len(rounds)):
        dream = Dream(simulators, ranked[name].rnns.own, rules, params.environment.warm_up_frames)
        scores = dream_scores(dream, ranked[name], starts, jr.key(settings.seed))
        rows += [{"round": name, **row} for row in scores]
    files.write_csv(METRICS / "ranks.csv", rows)
    files.write_json(METRICS / "ranks.json", ranks(rows))


def read(round_name: str) -> Ranked:
    """A round's ranked controllers. Raises BadInput, also for files that do not fit together."""
    folder = ROUND_MODELS / round_name
    rnns, path = rnn_files.read(folder), folder / "ranked.eqx"
    ranked = model_file.load(path, Snapshots)
    features = rnns.own.latent_size + rnns.own.hidden_size
    model_file.check(path, "features", ranked.controllers.weight.shape[-1], features)
    scores = results.read(ROUND_METRICS / round_name / "ranked.json", results.TrackScores)
    model_file.check(path, "count", ranked.count, len(scores.real))
    return Ranked(rnns, ranked.controllers, scores.real)
