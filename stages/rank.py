"""Ranks all rounds' final controllers in the same dreams, and chooses a round: `python -m stages rank`.

Of real drives it uses the first frames of validation drives, from which the dreams start, and no score.
"""

from wm.fidelity import ranking
from wm.models import rnn_files
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.params.model import Params
from wm.runtime import files, model_file, model_header
from wm.runtime.places import METRICS, ROUND_MODELS
from wm.runtime.progress import progress


def main(params: Params) -> None:
    settings, rounds = params.rank, list(params.rounds)
    finals = {name: read(name) for name in rounds}
    dreams = ranking.common_dreams(
        rounds[-settings.simulator_rounds :],
        params.environment.warm_up_frames,
        settings.dreams_per_controller,
        settings.seed,
    )
    rows = [
        {"round": name, **dreams.score(*finals[name])}
        for name in progress(rounds, "ranking in dreams", len(rounds))
    ]
    files.write_csv(METRICS / "ranks.csv", rows)
    files.write_json(METRICS / "ranks.json", {"chosen": ranking.chosen(rows)})


def read(round_name: str) -> tuple[RNN, Controller]:
    """A round's own RNN and its final controller. Raises BadInput, also if they do not fit together."""
    folder = ROUND_MODELS / round_name
    own, path = rnn_files.read(folder).own, folder / "controller.eqx"
    controller = model_file.load(path, Controller)
    model_header.check(path, "features", controller.weight.shape[-1], own.latent_size + own.hidden_size)
    return own, controller
