"""The RNNs in the folder of a round or of an agent: rnn.eqx and simulators.eqx."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wm.models.rnn import RNN, Ensemble
from wm.runtime import model_file


@dataclass(frozen=True)
class RNNs:
    """An agent's own RNN, and the ensemble trained beside it."""

    own: RNN
    ensemble: Ensemble

    @cached_property
    def simulators(self) -> list[RNN]:
        """The RNNs that generate dreams: the ensemble's and the agent's own."""
        return [*self.ensemble.members, self.own]

    def save(self, folder: Path) -> None:
        """Writes both files."""
        for path, model in zip(paths(folder), (self.own, self.ensemble), strict=True):
            model_file.save(path, model)


def paths(folder: Path) -> list[Path]:
    """The files of the agent's own RNN and of the ensemble."""
    return [folder / "rnn.eqx", folder / "simulators.eqx"]


def read(folder: Path) -> RNNs:
    """The RNNs in the folder. Raises BadModelFile, also for RNNs of different sizes."""
    return beside(model_file.load(paths(folder)[0], RNN), folder)


def beside(own: RNN, folder: Path) -> RNNs:
    """`own`, read from the folder before, and the folder's ensemble. Raises BadModelFile as `read` does."""
    path = paths(folder)[1]
    ensemble = model_file.load(path, Ensemble)
    model_file.check_sizes(path, ensemble.stacked, own)
    return RNNs(own, ensemble)
