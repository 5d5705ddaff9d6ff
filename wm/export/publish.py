"""`wm publish`: a round's agent with its scores and model card in models/pretrained."""

import shutil
from dataclasses import asdict
from pathlib import Path

from wm.agent.agent import Agent
from wm.agent.agent_files import AgentFiles
from wm.dream.starts import read_starts
from wm.models import rnn_files
from wm.report.model_card import Origin, model_card, score_files
from wm.runtime import files
from wm.runtime.places import PRETRAINED, ROUND_MODELS, VAE_MODEL


def publish(origin: Origin) -> None:
    """Publishes the agent of the last of these rounds. Raises BadInput, and then publishes nothing."""
    sources = checked_files(origin.round_name)
    card = model_card(origin)
    for name, source in sources.items():
        with files.replacing(PRETRAINED / name) as unfinished:
            shutil.copyfile(source, unfinished)
    files.write_json(PRETRAINED / "environment.json", asdict(origin.timing))
    files.write_bytes(PRETRAINED / "MODEL_CARD.md", card.encode())


def checked_files(round_name: str) -> dict[str, Path]:
    """The files of a round's agent by their published names. Raises BadInput if one is missing or damaged, or
    if they do not fit together."""
    folder = ROUND_MODELS / round_name
    models = AgentFiles(VAE_MODEL, folder / "rnn.eqx", folder / "controller.eqx")
    simulators, starts = folder / "simulators.eqx", folder / "starts.npz"
    agent = Agent.load(models)
    rnn_files.beside(agent.rnn, folder)
    read_starts(starts, agent.rnn.latent_size)
    paths = {path.name: path for path in [*models.paths, simulators, starts]}
    return paths | {f"{world}.json": path for world, path in score_files(round_name).items()}
