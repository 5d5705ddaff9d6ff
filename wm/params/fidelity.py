"""The section `fidelity`."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, NonNegativeInt, PositiveFloat, PositiveInt

from wm.params.section import Section, distinct


class Fidelity(Section):
    """Comparison of each round's dream with reality."""

    renamed: ClassVar[dict[str, str]] = {"noise": "noise_scales"}

    seed: NonNegativeInt
    """seed of the first track on which controllers are ranked; the other tracks use the seeds that follow"""
    tracks: PositiveInt
    """real tracks per ranked controller"""
    snapshots: PositiveInt
    """snapshots of the search that are ranked, spaced geometrically"""
    noise_scales: Annotated[list[PositiveFloat], AfterValidator(distinct)]
    """noise on copies of the final controller that are ranked as well, relative to its parameters' RMS"""
    plans: PositiveInt
    """dreamt action sequences that are replayed on the real track"""
    plan_steps: PositiveInt
    """steps of each sequence"""
    window_steps: PositiveInt
    """steps per row of exploitation.csv"""
