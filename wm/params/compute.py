"""The section `compute`."""

import re
from typing import Annotated

from pydantic import Field, NonNegativeInt, field_validator

from wm.params.section import Section

LOCAL, SLURM = "local", "slurm"
MAX_WORKERS = 1024
DASK_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://\S+")


class Compute(Section):
    """Where drives are made. Does not affect results."""

    scheduler: str
    """local, slurm, or the address of a Dask scheduler (tcp://host:8786); the machines share the project's
    folder"""
    workers: Annotated[NonNegativeInt, Field(le=MAX_WORKERS)]
    """processes on this machine (0: one per core), or concurrent SLURM jobs"""

    @field_validator("scheduler")
    @classmethod
    def _known(cls, scheduler: str) -> str:
        if scheduler not in (LOCAL, SLURM) and not DASK_ADDRESS.fullmatch(scheduler):
            raise ValueError("expected local, slurm or the address of a Dask scheduler, tcp://host:8786")
        return scheduler
