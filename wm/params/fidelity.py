"""The section `fidelity`."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, NonNegativeInt, PositiveFloat, PositiveInt

from wm.params.section import Section, distinct


class Fidelity(Section):
    """Comparison of dream and reality: drift and replayed plans of the chosen round; dream and real scores of
    controllers of all rounds."""

    renamed: ClassVar[dict[str, str]] = {"noise": "noise_scales"}
    removed: ClassVar[tuple[str, ...]] = ("dreams", "perturbed")

    seed: NonNegativeInt
    """seed of the first track on which controllers drive; the other tracks use the seeds that follow"""
    tracks: PositiveInt
    """real tracks per controller"""
    snapshots: PositiveInt
    """number of snapshots of each round's search among the controllers; generations are spaced
    geometrically"""
    noise_scales: Annotated[list[PositiveFloat], AfterValidator(distinct)]
    """each round's final controller is copied with parameter noise, once for each scale: the noise's standard
    deviation relative to the parameters' RMS"""
    plans: PositiveInt
    """number of dreamt action sequences that are replayed on the real track"""
    plan_steps: PositiveInt
    """steps of each sequence"""
    window_steps: PositiveInt
    """steps per row of exploitation.csv"""
