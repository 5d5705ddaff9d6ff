"""metrics/summary.json: the few numbers by which people compare two runs, as a flat mapping."""

from collections.abc import Sequence
from typing import Any

from wm.agent.summary import IMPOSSIBLE
from wm.report.content import Content, RoundResults
from wm.runtime.results import Measured


def summary(content: Content) -> dict[str, Any]:
    """Scores in points; those of dream and real are the published agent's. Unknown values are left out."""
    chosen = content.chosen
    dream, real = chosen.dream.score.mean, chosen.real.score.mean
    values = {
        "dream": dream,
        "real": real,
        "gap": round(dream - real, 2),
        "gap_percent": round(100 * (dream - real) / max(abs(real), 1e-9), 2),
        "rank_correlation": content.rank_correlation,
        "impossible_dreams": sum(results.dream.score.mean > IMPOSSIBLE for results in content.rounds),
        **details("dream", chosen.dream),
        **details("real", chosen.real),
        "loss/vae": round(float(content.train_vae[-1]["loss"]), 4),
        **rnn_losses(chosen),
        **scores(content.rounds),
    }
    return {name: value for name, value in values.items() if value is not None}


def details(world: str, drives: Measured) -> dict[str, Any]:
    """How the drives of one world are distributed."""
    return {
        f"{world}/std": drives.score.std,
        f"{world}/median": drives.score.median,
        f"{world}/laps": drives.laps,
        f"{world}/lap_frames": drives.lap_frames,
        f"{world}/below_600": drives.below_600,
    }


def rnn_losses(results: RoundResults) -> dict[str, float]:
    """Validation losses of the RNNs at the end of the round's training; the simulators' is their mean."""
    last = results.train_rnn[-1]
    simulators = [
        float(value)
        for name, value in last.items()
        if name.startswith("simulator_") and name.endswith("_loss") and "_train_" not in name
    ]
    losses = {"loss/rnn": round(float(last["loss"]), 4)}
    return losses | ({"loss/simulator": round(sum(simulators) / len(simulators), 4)} if simulators else {})


def scores(rounds: Sequence[RoundResults]) -> dict[str, float]:
    """The mean scores of each round."""
    means = {}
    for results in rounds:
        means[f"{results.name}/dream"] = results.dream.score.mean
        means[f"{results.name}/real"] = results.real.score.mean
    return means
