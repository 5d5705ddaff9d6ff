"""Entropy of the encoder's own noise, the part of M's loss that no M can remove.

    uv run python -m bench.encoder_noise           # needs data/latents of `dvc repro`; seconds

M learns from samples z of N(mu, exp(logvar)). The differential entropy of these samples, in nats per step,
is a lower bound of M's negative log-likelihood. Prints one row per round: the entropy on validation tracks
beside M's loss.
"""

import numpy as np

from bench import process, tables
from bench.runs import METRICS
from wm.data.shards import Shards
from wm.params import file
from wm.runtime import files, run
from wm.runtime.places import LATENTS

HEADS = "round, entropy of the encoder's draws, M: NLL"


def main() -> None:
    tables.table(
        HEADS,
        [
            [name, f"{entropy(Shards(LATENTS / round_.prev)):.1f}", f"{nll(name):.1f}"]
            for name, round_ in file.load().rounds.items()
        ],
    )


def entropy(shards: Shards) -> float:
    """Mean entropy of the encoder's samples over the steps of the validation drives, nats per step."""
    episodes = (shards.read(record) for record in shards.kept(validation=True))
    logvar = np.concatenate([episode.observations["logvar"] for episode in episodes])
    return float(0.5 * (np.log(2 * np.pi * np.e) + logvar.astype(np.float64)).sum(axis=1).mean())


def nll(round_name: str) -> float:
    """M's negative log-likelihood on validation drives, nats per step."""
    return files.read_json(METRICS / "rounds" / round_name / "train_rnn.json")["rnn"]["nll"]


if __name__ == "__main__":
    process.set_up()
    run.run(main)
