"""The section `process`."""

from pydantic import Field, NonNegativeInt

from wm.params.section import Section


class Process(Section):
    """How raw drives become training data."""

    seed: NonNegativeInt
    """seed of the validation split"""
    mirror: bool
    """true: add the mirror image of every drive"""
    validation_share: float = Field(ge=0, lt=1)
    """share of each source's tracks that no model is trained on"""
    min_score: dict[str, float]
    """per source, the score at or below which a drive is dropped; sources not listed are kept whole"""
