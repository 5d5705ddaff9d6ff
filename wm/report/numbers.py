"""Numbers of metrics/ that charts, page and summary share: columns of tables, and intervals of means."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

STANDARD_ERRORS_95 = 1.96  # on each side of a mean, in a 95 % interval

Rows = Sequence[Mapping[str, Any]]
Curves = Mapping[str, Rows]  # by round, first round first
Errors = TypeVar("Errors", float, np.ndarray)


def half_interval(standard_error: Errors) -> Errors:
    """Half of the 95 % interval of a mean."""
    return STANDARD_ERRORS_95 * standard_error


def column(rows: Rows, name: str) -> np.ndarray:
    """The numbers in a column of a table."""
    return np.array([float(row[name]) for row in rows])


def round_tracks(rows: Rows) -> str:
    """On how many tracks of which kind the real scores in the rows of rounds.csv were measured."""
    return ", ".join(sorted({f"{row['real_drives']} {row['tracks']} tracks" for row in rows}))


def simulator_losses(row: Mapping[str, Any]) -> list[str]:
    """The columns of train_rnn.csv that hold the simulators' validation losses."""
    simulators = (name for name in row if name.startswith("simulator_") and name.endswith("_loss"))
    return [name for name in simulators if "_train_" not in name]
