"""The code deps of every stage in dvc.yaml: `python -m stages deps` checks them, `--write` rewrites them.

The rest of dvc.yaml, its comments included, stays as it is. A stage's code deps are the modules that can
change its outputs; see `wm.runtime.code.stage_modules`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from wm.errors import BadInput, Halted, shown
from wm.params.model import Params
from wm.runtime import code, files

DAG, WRITE = Path("dvc.yaml"), "--write"
CODE = re.compile(r"\s+- (wm|stages)/\S+\.py\s*$")


def main(params: Params, option: str = "") -> None:
    if option not in ("", WRITE):
        raise BadInput(f"deps: found {shown(option)}, expected {WRITE} or nothing")
    text = DAG.read_text(encoding="utf-8")
    if (generated := with_code_deps(text)) == text:
        print(f"{DAG}: code deps agree with the imports")
        return
    if option != WRITE:
        raise Halted(f"{DAG}: code deps differ from the imports. Run `python -m stages deps {WRITE}`.")
    with files.replacing(DAG) as unfinished:
        unfinished.write_text(generated, encoding="utf-8")
    print(f"{DAG}: code deps written")


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
    """The lines of a stage's code deps, sorted."""
    paths = (code.path_of(name, code.ROOT) for name in code.stage_modules(stage))
    for path in sorted(str(path.relative_to(code.ROOT)) for path in paths if path):
        yield f"{' ' * (indent + 2)}- {path}\n"
