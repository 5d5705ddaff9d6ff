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
from wm.params.initialise import Initialise
from wm.params.process import Process
from wm.params.rank import Rank
from wm.params.rounds import RoundName, RoundParams, ancestry
from wm.params.section import Section
from wm.params.train_rnn import TrainRNN
from wm.params.train_vae import TrainVAE

MACHINE_SECTIONS = ("compute", "hosts", "gpu")  # where and how to compute; results differ by rounding at most


class Params(Section):
    """params.yaml: the parameters of all stages."""

    environment: Environment
    """how an agent meets CarRacing-v3"""
    compute: Compute
    """where drives are made; does not affect results"""
    hosts: Hosts
    """machines that train together; affects results by rounding alone"""
    gpu: GPU
    """how XLA computes on a GPU; no effect on a CPU"""
    rounds: Annotated[dict[RoundName, RoundParams], Field(min_length=1)]
    """each round trains the RNNs, evolves the controller in their dreams, drives, and collects new drives"""
    collect: Annotated[dict[DriverName, Collect], Field(min_length=1)]
    """drives of the scripted drivers"""
    process: Process
    """how raw drives become training data"""
    train_vae: TrainVAE
    """training of V, the VAE"""
    initialise: Initialise
    """sizes of M, the MDN-RNN"""
    train_rnn: TrainRNN
    """training of M in every round"""
    evolve: Evolve
    """evolution of C, the controller, in dreams"""
    evaluate: Evaluate
    """evaluation of each round's agent on real tracks that nothing else uses"""
    explore: Explore
    """drives of each round's agent that the next round learns from"""
    fidelity: Fidelity
    """comparison of each round's dream with reality"""
    rank: Rank
    """ranking of all controllers in the same dreams, and choice of the published round"""

    def rounds_until(self, name: str) -> list[str]:
        """The rounds from the first one to `name`; none for init. Raises ValueError for a broken `prev`."""
        return ancestry(name, {key: one.prev for key, one in self.rounds.items()})
