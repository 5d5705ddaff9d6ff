"""The section `initialise`."""

from typing import ClassVar

from pydantic import NonNegativeInt, PositiveInt

from wm.params.section import Section


class Initialise(Section):
    """Sizes of M, the MDN-RNN, and the number of RNNs."""

    renamed: ClassVar[dict[str, str]] = {"joint": "joint_mixture"}

    seed: NonNegativeInt
    """seed of the initial weights"""
    hidden_size: PositiveInt
    """units of the LSTM"""
    mixtures: PositiveInt
    """number of Gaussians in each mixture"""
    joint_mixture: bool
    """true: one mixture over all latent dimensions; false: one per dimension, as in the paper"""
    simulators: NonNegativeInt
    """number of RNNs that only generate dreams, in turn with the agent's own"""
