"""All of params.yaml as one model."""

from typing import Annotated

from pydantic import Field

from wm.params.collect import Collect, DriverName
from wm.params.compute import Compute
from wm.params.environment import Environment
from wm.params.evaluate import Evaluate
from wm.params.evolve import Evolve
from wm.params.explore import Explore
from wm.params.fidelity import Fidelity
from wm.params.gpu import GPU
from wm.params.hosts import Hosts
from wm.params.import_drives import ImportDrives
from wm.params.initialise import Initialise
from wm.params.process import Process
from wm.params.rank import Rank
from wm.params.rounds import RoundName, RoundParams, ancestry
from wm.params.section import Section
from wm.params.train_rnn import TrainRNN
from wm.params.train_vae import TrainVAE

MACHINE_SECTIONS = ("compute", "hosts", "gpu")  # where and how to compute; results differ by rounding at most


class Params(Section):
    """params.yaml: the parameters of all stages. The docstrings of the sections are their descriptions."""

    environment: Environment
    compute: Compute
    hosts: Hosts
    gpu: GPU
    rounds: Annotated[dict[RoundName, RoundParams], Field(min_length=1)]
    """Rounds. Each trains the RNNs, evolves the controller in their dreams, drives, and collects new
    drives."""
    collect: Annotated[dict[DriverName | RoundName, ImportDrives | Collect], Field(min_length=1)]
    """Drives of the scripted drivers."""
    process: Process
    train_vae: TrainVAE
    initialise: Initialise
    train_rnn: TrainRNN
    evolve: Evolve
    evaluate: Evaluate
    explore: Explore
    fidelity: Fidelity
    rank: Rank

    @property
    def recorded(self) -> dict[str, ImportDrives]:
        """The sources of `collect` that are recorded drives."""
        return {name: source for name, source in self.collect.items() if isinstance(source, ImportDrives)}

    def rounds_until(self, name: str) -> list[str]:
        """The rounds from the first one to `name`; none for init. Raises ValueError for a broken `prev`."""
        return ancestry(name, {key: entry.prev for key, entry in self.rounds.items()})
