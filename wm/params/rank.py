"""The section `rank`."""

from typing import ClassVar

from pydantic import NonNegativeInt, PositiveInt

from wm.params.section import Section


class Rank(Section):
    """Ranking of all rounds' final controllers in the same dreams, and choice of the round to publish."""

    renamed: ClassVar[dict[str, str]] = {"dreams": "dreams_per_controller", "worlds": "simulator_rounds"}

    seed: NonNegativeInt
    """seed of the dreams"""
    dreams_per_controller: PositiveInt
    """number of whole dreamt episodes per controller"""
    simulator_rounds: PositiveInt
    """number of last rounds whose RNNs generate these dreams"""
