"""Recorded drives in dvc.yaml: a stage `import_drives` for each source; its output is a dep of `process`."""

import re
from pathlib import Path

from wm.errors import BadInput
from wm.params.file import PARAMS
from wm.params.model import Params
from wm.pipeline.dag import DAG
from wm.runtime.places import RAW

IMPORT = "import_drives"  # the stage of recorded drives
STAGES = re.compile(rf"(?<=\n  {IMPORT}:\n    foreach: )\{{.*\}}")
PROCESS = re.compile(r"(?<=\n  process:\n)(?:    .*\n)*")
DRIVES = re.compile(rf"(?:      - {RAW}/\S+\n)+")


def of_stage(stage: str, params: Params) -> list[str]:
    """The sources of `collect` that the stage may be called for: recorded drives, or drivers."""
    return [name for name in params.collect if (name in params.recorded) == (stage == IMPORT)]


def check(params: Params) -> None:
    """Raises BadInput if recorded drives lie in a folder that stages overwrite, or if dvc.yaml names other
    sources of recorded drives than params.yaml."""
    for name, source in params.recorded.items():
        if Path(source.path).resolve().is_relative_to(RAW.resolve()):
            found, expected = f"found {source.path}", f"a folder outside {RAW}, which stages overwrite"
            raise BadInput(f"{PARAMS}: collect.{name}.path: {found}, expected {expected}")
    text = DAG.read_text(encoding="utf-8") if DAG.exists() else ""
    imported = STAGES.search(text)
    known = params.recorded or (imported and imported[0] != "{}")
    if text and known and with_sources(text, params) != text:
        found = "found other sources than in collect of params.yaml"
        raise BadInput(f"{DAG}: {IMPORT}, process: {found}. Run `python -m stages deps --write`.")


def with_sources(text: str, params: Params) -> str:
    """The text of dvc.yaml with the sources of recorded drives, and all sources as deps of `process`."""
    paths = ", ".join(f"{name}: {source.path}" for name, source in params.recorded.items())
    text = STAGES.sub(lambda _: f"{{{paths}}}", text)
    deps = "".join(f"      - {RAW / name}\n" for name in params.collect)
    return PROCESS.sub(lambda stage: DRIVES.sub(lambda _: deps, stage[0], count=1), text, count=1)
