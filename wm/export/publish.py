"""`wm publish`: a round's agent with its scores and model card in models/pretrained."""

import shutil
from dataclasses import asdict
from pathlib import Path

from wm.agent.agent import AgentFiles
from wm.dream.starts import read_starts
from wm.models import rnn_files
from wm.report.model_card import Origin, model_card
from wm.runtime import files
from wm.runtime.places import PRETRAINED, ROUND_METRICS, ROUND_MODELS, VAE_MODEL


def publish(origin: Origin) -> None:
    """Publishes the agent of the last of these rounds. Raises BadInput, and then publishes nothing."""
    sources = checked_files(origin.round_name)
    card = model_card(origin)
    for source in sources:
        with files.replacing(PRETRAINED / source.name) as unfinished:
            shutil.copyfile(source, unfinished)
    files.write_json(PRETRAINED / "environment.json", asdict(origin.timing))
    files.write_bytes(PRETRAINED / "MODEL_CARD.md", card.encode())


def checked_files(name: str) -> list[Path]:
    """The files of a round's agent. Raises BadInput if one is missing or damaged, or if they do not fit
    together."""
    folder = ROUND_MODELS / name
    models = AgentFiles(VAE_MODEL, folder / "rnn.eqx", folder / "controller.eqx")
    simulators, starts = folder / "simulators.eqx", folder / "starts.npz"
    agent = models.load()
    rnn_files.beside(agent.rnn, folder)
    read_starts(starts, agent.rnn.latent_size)
    scores = [ROUND_METRICS / name / f"{world}.json" for world in ("dream", "real")]
    return [*models.paths, simulators, starts, *scores]
