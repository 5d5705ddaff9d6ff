"""The section `evaluate`."""

from pydantic import NonNegativeInt, PositiveInt

from wm.params.section import Section


class Evaluate(Section):
    """Evaluation of the chosen round's agent on real tracks that nothing else uses."""

    seed: NonNegativeInt
    """seed of the first track; later drives use the seeds that follow"""
    episodes: PositiveInt
    """number of drives"""
