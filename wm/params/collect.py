"""The section `collect`: one subsection per scripted driver."""

from typing import Annotated

from pydantic import AfterValidator, NonNegativeInt, PositiveInt, WithJsonSchema

from wm.errors import listed
from wm.params.section import Section

DRIVERS = ("lane_follower", "erratic")  # each has a class in wm/track/drivers.py


def _driver(name: str) -> str:
    if name not in DRIVERS:
        raise ValueError(f"expected one of {listed(DRIVERS)}")
    return name


DriverName = Annotated[
    str, AfterValidator(_driver), WithJsonSchema({"type": "string", "enum": list(DRIVERS)})
]


class Collect(Section):
    """Drives of one scripted driver."""

    seed: NonNegativeInt
    """seed of the first track; later drives use the seeds that follow"""
    episodes: PositiveInt
    """number of drives"""
