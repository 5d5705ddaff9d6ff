"""Every hot path beside its peers and the machine's own limit: `uv run --extra bench python -m bench`.

Some minutes on two cores that do nothing else. Rates are per second where no other unit is given; ours and
its peer's are measured in turn. The table is Markdown, that of docs/performance.md.
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
    """Those that take part, with their versions."""
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def processor() -> str:
    """Its name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
