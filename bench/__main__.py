"""Speed of every hot path beside other libraries and the machine's limit.

    uv run --extra bench python -m bench

Takes several minutes on two idle cores. Rates are per second unless another unit is given. Ours and the other
library are measured in alternation. The output is CSV, as in bench/results/speed.csv.
"""

import csv
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from bench import drives, env, process, rnn, shards, vae
from bench.timing import Row, show

LIBRARIES = ("jax", "equinox", "gymnasium", "numpy", "pyarrow", "cma", "torch", "envpool")


def main() -> None:
    rows: list[Row] = []
    for module in (env, vae, rnn, shards, drives):
        rows += (measured := module.rows())
        show(measured, sys.stderr)
    machine = f"{processor()}, {os.cpu_count()} cores"
    print(f"{machine}; Python {platform.python_version()}, {libraries()}", file=sys.stderr)
    writer = csv.DictWriter(sys.stdout, ["machine", *rows[0].record], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"machine": machine} | row.record for row in rows)


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
    process.set_up()
    main()
