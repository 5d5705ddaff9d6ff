"""`wm publish`: a round's agent with its scores and model card in models/pretrained."""

import shutil
from pathlib import Path

from wm.agent.agent import AgentFiles
from wm.dream.starts import read_starts
from wm.errors import BadInput, listed, shown
from wm.models.rnn import Ensemble
from wm.params.model import Params
from wm.report.model_card import model_card
from wm.runtime import files, model_file, results
from wm.runtime.places import METRICS, PRETRAINED, ROUND_METRICS, ROUND_MODELS, VAE_MODEL


def publish(params: Params, round_name: str | None = None) -> str:
    """Publishes a round, by default the one that the stage `rank` chose; returns its name. Raises BadInput,
    and then publishes nothing."""
    name = round_name or results.read(METRICS / "ranks.json", results.Ranks).chosen
    if name not in params.rounds:
        raise BadInput(f"round: found {shown(name)}, expected one of {listed(params.rounds)}")
    sources = checked_files(name)
    card = model_card(params, name)
    for source in sources:
        with files.replacing(PRETRAINED / source.name) as unfinished:
            shutil.copyfile(source, unfinished)
    files.write_json(PRETRAINED / "environment.json", params.environment.model_dump())
    files.write_bytes(PRETRAINED / "MODEL_CARD.md", card.encode())
    return name


def checked_files(name: str) -> list[Path]:
    """The files of a round's agent. Raises BadInput if one is missing or damaged, or if they do not fit
    together."""
    folder = ROUND_MODELS / name
    models = [VAE_MODEL, folder / "rnn.eqx", folder / "controller.eqx"]
    simulators, starts = folder / "simulators.eqx", folder / "starts.npz"
    agent = AgentFiles(*models).load()
    model_file.check_sizes(simulators, model_file.load(simulators, Ensemble).stacked, agent.rnn)
    read_starts(starts, agent.rnn.latent_size)
    scores = [ROUND_METRICS / name / f"{world}.json" for world in ("dream", "real")]
    return [*models, simulators, starts, *scores]
