"""The deps of dvc.yaml that follow from the code and from params.yaml: `python -m stages deps` checks them,
`--write` rewrites them.

The rest of dvc.yaml, its comments included, stays as it is. A stage's code deps are the modules that can
change its outputs (see `wm.runtime.code.stage_modules`), or the folder of a package if the stage imports
several of its modules, which keeps dvc.lock short (`wm.pipeline.lock`). Sources of recorded
drives are written by `wm.pipeline.sources`. `--write` also removes from dvc.lock the records of stages and
rounds that are gone.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from wm.errors import BadInput, Halted, shown
from wm.packaged import DAG
from wm.params.model import Params
from wm.pipeline import lock, sources
from wm.runtime import code, files

WRITE = "--write"
CODE = re.compile(r"\s+- (wm|stages)/\S+\s*$")
FOLDERS = ("data", "dream", "fidelity", "report", "runtime", "search")  # packages of wm that count as a whole
MODULES = 3  # if a stage imports as many of them


def main(params: Params, option: str = "") -> None:
    if option not in ("", WRITE):
        raise BadInput(f"deps: found {shown(option)}, expected {WRITE} or nothing")
    text = DAG.read_text(encoding="utf-8")
    if (generated := with_code_deps(sources.with_sources(text, params))) == text:
        print(f"{DAG}: deps agree with the imports and params.yaml")
    elif option != WRITE:
        raise Halted(
            f"{DAG}: deps differ from the imports or params.yaml. Run `python -m stages deps {WRITE}`."
        )
    else:
        files.write_bytes(DAG, generated.encode())
        print(f"{DAG}: deps written")
    if option == WRITE:
        lock.prune(params.model_dump())


def with_code_deps(text: str) -> str:
    """The text of dvc.yaml with each stage's code deps, after its other deps."""
    lines: list[str] = []
    stage = ""
    blocks = iter(text.splitlines(keepends=True))
    for line in blocks:
        if command := re.match(r"\s+cmd: python -m stages (\w+)", line):
            stage = command[1]
        lines.append(line)
        if line.strip() == "deps:":
            lines += deps(blocks, stage, lines)
    return "".join(lines)


def deps(lines: Iterator[str], stage: str, before: list[str]) -> Iterator[str]:
    """The items of the list that follows `before`, code deps replaced, and the line after the list."""
    indent = len(before[-1]) - len(before[-1].lstrip())
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            yield from code_deps(stage, indent)
            yield line
            return
        if not CODE.match(line):
            yield line
    yield from code_deps(stage, indent)


def code_deps(stage: str, indent: int) -> Iterator[str]:
    """The lines of a stage's code deps."""
    for path in code_paths(stage):
        yield f"{' ' * (indent + 2)}- {path}\n"


def code_paths(stage: str) -> list[str]:
    """A stage's code deps, sorted: modules, and folders of packages of which it imports several."""
    found = (code.path_of(name) for name in code.stage_modules(stage))
    paths = [path.relative_to(code.ROOT) for path in found if path]
    imported = Counter(path.parent for path in paths)
    whole = {folder for folder in map(Path("wm").joinpath, FOLDERS) if imported[folder] >= MODULES}
    return sorted({str(path.parent if path.parent in whole else path) for path in paths})
