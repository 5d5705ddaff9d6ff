"""Measurements in alternation, and the machine's limit."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TextIO

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

MATRIX = 2048  # rows and columns of the matrix product that represents the machine's limit


class Row(NamedTuple):
    """A line of the table, in `unit` per second: our rate, another library's (0: none), and the highest rate
    that the machine allows according to `limit_name` (0: unknown)."""

    path: str
    unit: str
    ours: float
    peer_name: str = ""
    peer: float = 0.0
    limit_name: str = ""
    limit: float = 0.0

    @property
    def cells(self) -> list[str]:
        """Path, unit, our rate, the peer's, their ratio, share of the limit."""
        peer = f"{self.peer_name} {figure(self.peer)}" if self.peer else ""
        ratio = f"{self.ours / self.peer:.2f}" if self.peer else ""
        share = f"{100 * self.ours / self.limit:.0f} % of {self.limit_name}" if self.limit else ""
        return [self.path, self.unit, figure(self.ours), peer, ratio, share]

    @property
    def record(self) -> dict[str, str]:
        """The columns of bench/results/speed.csv except the machine."""
        return {
            "path": self.path,
            "unit": self.unit,
            "ours": plain(self.ours),
            "peer": self.peer_name if self.peer else "",
            "peer_rate": plain(self.peer) if self.peer else "",
            "limit_percent": f"{100 * self.ours / self.limit:.0f}" if self.limit else "",
            "limit": self.limit_name if self.limit else "",
        }


def show(rows: list[Row], file: TextIO | None = None) -> None:
    """Prints one line per row, to standard output unless another file is given."""
    for row in rows:
        print("  ".join(row.cells), file=file, flush=True)


def plain(value: float) -> str:
    """The number with at least three digits, without commas."""
    return figure(value).replace(",", "")


def figure(value: float) -> str:
    """The number with at least three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def alternate(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each run. The runs alternate, so that other load affects all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_:  # the first one compiles
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in seconds.items()}


def matrix_product() -> Callable[[], object]:
    """A float32 product of two square matrices: `MATRIX_FLOP` operations."""
    a, b = (jr.normal(key, (MATRIX, MATRIX)) for key in jr.split(jr.key(0)))
    multiply = jax.jit(jnp.dot)
    return lambda: multiply(a, b).block_until_ready()


MATRIX_FLOP = 2 * MATRIX**3
MATRIX_NAME = "the matrix product"
