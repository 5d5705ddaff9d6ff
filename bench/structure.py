"""The project's structure in numbers: `python -m bench.structure`. Imports none of what it reads."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import process
from wm.runtime import code
from wm.runtime.code import ROOT

LAYERS = (  # a module imports from its own layer and from those after it
    ("wm", "wm.__main__"),  # wm itself, not what it contains
    ("stages", "wm.cli", "wm.usage", "wm.envs"),
    ("wm.report", "wm.viewer", "wm.export", "wm.pipeline"),
    ("wm.fidelity", "wm.search", "wm.agent"),
    ("wm.dream", "wm.track"),
    ("wm.models", "wm.data"),
    ("wm.runtime", "wm.params"),
    ("wm.errors", "wm.spec", "wm.packaged"),
)
LONGEST_STAGE = 120  # lines
MOST_PARAMETERS = 6  # of a function
DOCS = ("*.md", "docs/**/*.md")


class Function(NamedTuple):
    """A function or method: its place, parameters (self and cls not counted, * and ** as one) and lines."""

    place: str
    parameters: int
    lines: int


def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """What each module of the project imports; packages whose __init__ holds no code are left out."""
    names = [name for name in code.project(root) if code.source(name, root).has_code]
    return {name: set(code.imports(name, root)) for name in names}


def package(name: str) -> str:
    """The package of a module, or the module itself where it lies in none below wm."""
    return name if name.count(".") < 2 and name.split(".")[0] == "wm" else name.rpartition(".")[0] or name


def packages(modules: dict[str, set[str]]) -> dict[str, set[str]]:
    """What each package imports."""
    found: dict[str, set[str]] = {}
    for name, imported in modules.items():
        found.setdefault(package(name), set()).update(map(package, imported))
    return {name: imported - {name} for name, imported in found.items()}


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """A cycle of imports, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def layer(name: str) -> int:
    """The layer of a module, 0 the highest. Raises LookupError for a module that has none."""
    for i, names in enumerate(LAYERS):
        if any(name == one or (one != "wm" and name.startswith(f"{one}.")) for one in names):
            return i
    raise LookupError(f"{name}: in no layer, expected a package of {LAYERS}")


def upward(modules: dict[str, set[str]]) -> list[str]:
    """The imports that run upward."""
    pairs = ((name, one) for name, imported in modules.items() for one in sorted(imported))
    return [f"{name} -> {one}" for name, one in pairs if layer(one) < layer(name)]


def functions(text: str | bytes, place: str) -> Iterator[Function]:
    """All functions and methods of a module's source."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            starred = [one for one in (arguments.vararg, arguments.kwarg) if one]
            count = sum(one.arg not in ("self", "cls") for one in named) + len(starred)
            yield Function(f"{place}: {node.name}", count, (node.end_lineno or node.lineno) - node.lineno + 1)


def all_functions() -> list[Function]:
    """All functions and methods of the library and the stages."""
    paths = files("wm/**/*.py", "stages/*.py")
    return [one for path in paths for one in functions(path.read_bytes(), str(path.relative_to(ROOT)))]


def files(*patterns: str) -> list[Path]:
    """The project's files that match, sorted."""
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern)})


def lines(path: Path) -> int:
    """The number of lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def words(path: Path) -> int:
    """The number of words of a text; marks of tables, lists and headings are none."""
    return sum(bool(re.search(r"\w", word)) for word in path.read_text(encoding="utf-8").split())


def longest(paths: list[Path]) -> str:
    """The longest file."""
    path = max(paths, key=lines)
    return f"{path.relative_to(ROOT)}, {lines(path)} lines"


def main() -> None:
    modules = graph()
    found = all_functions()
    lengths = sorted(one.lines for one in found)
    ninth = lengths[len(lengths) * 9 // 10]
    most = max(found, key=lambda one: one.parameters)
    print("import cycles between modules:", " -> ".join(cycle(modules)) or "none")
    print("import cycles between packages:", " -> ".join(cycle(packages(modules))) or "none")
    print("upward imports:", ", ".join(upward(modules)) or "none")
    print("longest stage:", longest(files("stages/*.py")))
    print("longest module:", longest(files("wm/**/*.py")))
    print(f"most parameters of a function: {most.parameters} ({most.place})")
    print(f"function length: median {median(lengths)} lines, nine in ten up to {ninth}")
    counts = {path.relative_to(ROOT): words(path) for path in files(*DOCS)}
    for path, count in counts.items():
        print(f"words in {path}: {count:,}")
    print(f"words in all: {sum(counts.values()):,}")


if __name__ == "__main__":
    process.set_up()
    main()
