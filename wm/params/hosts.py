"""The section `hosts`."""

import shlex
import shutil

from pydantic import field_validator

from wm.params.section import Section


class Hosts(Section):
    """Machines that train together. Affects results by rounding alone."""

    launcher: str
    """command that starts one process per machine, e.g. srun --nodes 2 --ntasks-per-node 1;
    empty: this machine alone"""

    @field_validator("launcher")
    @classmethod
    def _command(cls, launcher: str) -> str:
        try:
            words = shlex.split(launcher)
        except ValueError:  # a quote that is not closed
            words = []
        if launcher and not (words and shutil.which(words[0])):
            raise ValueError("expected an installed command, e.g. srun --nodes 2 --ntasks-per-node 1")
        return launcher
