"""Times measured in alternation, and what the machine can do at most."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

MATRIX = 2048  # rows and columns of the product that stands for the machine's limit


class Row(NamedTuple):
    """A line of the table: what is done `unit` times a second by us, by a peer (0: there is none), and at
    most, as this machine's `limit` has it (0: not known)."""

    path: str
    unit: str
    ours: float
    peer_name: str = ""
    peer: float = 0.0
    limit_name: str = ""
    limit: float = 0.0

    @property
    def cells(self) -> list[str]:
        """Path, unit, ours, peer, ratio, share of the limit."""
        peer = f"{self.peer_name} {figure(self.peer)}" if self.peer else ""
        ratio = f"{self.ours / self.peer:.2f}" if self.peer else ""
        share = f"{100 * self.ours / self.limit:.0f} % of {self.limit_name}" if self.limit else ""
        return [self.path, self.unit, figure(self.ours), peer, ratio, share]


def show(rows: list[Row]) -> None:
    """Prints a line for each."""
    for row in rows:
        print("  ".join(row.cells), flush=True)


def figure(value: float) -> str:
    """With three digits at least."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def alternate(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each, the median of rounds. All take turns, so that a busy machine slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_:  # the first compiles
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in seconds.items()}


def matrix_product() -> Callable[[], object]:
    """A float32 product of two square matrices, of `MATRIX_FLOP` operations."""
    a, b = (jr.normal(key, (MATRIX, MATRIX)) for key in jr.split(jr.key(0)))
    multiply = jax.jit(jnp.dot)
    return lambda: multiply(a, b).block_until_ready()


MATRIX_FLOP = 2 * MATRIX**3
MATRIX_NAME = "the matrix product"
