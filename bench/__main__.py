"""Speed of every hot path beside other libraries and the machine's limit.

    uv run --extra bench python -m bench

Takes several minutes on two idle cores. Rates are per second unless another unit is given. Ours and the other
library are measured in alternation. The output is the Markdown table of docs/performance.md.
"""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from bench import drives, env, rnn, shards, vae
from bench.tables import table
from bench.timing import show

HEADS = "path, unit, ours, peer, ours / peer, of the limit"
LIBRARIES = ("jax", "equinox", "gymnasium", "numpy", "pyarrow", "cma", "torch", "envpool")


def main() -> None:
    lines = []
    for module in (env, vae, rnn, shards, drives):
        show(rows := module.rows())
        lines += [row.cells for row in rows]
    print()
    table(HEADS, lines)
    print(f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {libraries()}")


def libraries() -> str:
    """The libraries in the comparison, with their versions."""
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"no {name}")
    return ", ".join(versions)


def processor() -> str:
    """The processor's name, or the architecture where the system does not name it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
