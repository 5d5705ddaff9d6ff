"""The section `fidelity`."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, NonNegativeInt, PositiveFloat, PositiveInt

from wm.params.section import Section, distinct


class Fidelity(Section):
    """Comparison of each round's dream with reality."""

    renamed: ClassVar[dict[str, str]] = {"noise": "noise_scales"}
    removed: ClassVar[tuple[str, ...]] = ("dreams", "perturbed")

    seed: NonNegativeInt
    """seed of the first track on which controllers are ranked; the other tracks use the seeds that follow"""
    tracks: PositiveInt
    """real tracks per ranked controller"""
    snapshots: PositiveInt
    """number of snapshots of the search that are ranked; generations are spaced geometrically"""
    noise_scales: Annotated[list[PositiveFloat], AfterValidator(distinct)]
    """a copy of the final controller with parameter noise is ranked for each scale: the noise's standard
    deviation relative to the parameters' RMS"""
    plans: PositiveInt
    """number of dreamt action sequences that are replayed on the real track"""
    plan_steps: PositiveInt
    """steps of each sequence"""
    window_steps: PositiveInt
    """steps per row of exploitation.csv"""
