"""What of the pipeline is done, what runs, and about how long the rest takes: `wm status`."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wm.params import file
from wm.params.check import check
from wm.params.model import Params
from wm.pipeline import dag, progress, work
from wm.runtime import stage_log
from wm.runtime.stage_log import Note


@dataclass(frozen=True)
class StageStatus:
    """A stage, and what is left of it."""

    group: str  # train_rnn of train_rnn@r0
    key: str  # r0; empty for a stage without
    is_done: bool
    took: float | None  # seconds of its last run, if it is done and that run was whole
    left: float  # seconds, estimated
    note: str  # that it runs, or was interrupted


def lines() -> list[str]:
    """A line for each group of stages, and the rest's minutes. Raises BadInput."""
    content = file.read()
    params, stages, notes = check(content), dag.stages(content), stage_log.notes()
    done = dag.done(stages, content)
    found = [of_stage(params, name, name in done, notes) for name in stages]
    groups = {stage.group: [one for one in found if one.group == stage.group] for stage in found}
    head = f"{'stage':<18}{'done':>7}{'minutes':>9}{'left':>7}"
    return [head, *(group_line(group, members) for group, members in groups.items()), last_line(found, notes)]


def of_stage(params: Params, name: str, is_done: bool, notes: Mapping[str, Note]) -> StageStatus:
    """A stage by its name in DVC."""
    group, _, key = name.partition("@")
    note = notes.get(name)
    if is_done:
        return StageStatus(group, key, True, note.seconds if note and note.whole else None, 0.0, "")
    expected = work.expected_seconds(name, work.units(params, name), notes)
    if note is None or (note.seconds is not None and not note.runs):
        return StageStatus(group, key, False, None, expected, "")
    share = progress.share_done(params, name, note.began)
    elapsed = time.time() - note.began if note.runs else 0.0
    left = max(0.0, expected - elapsed) if share is None else expected * (1 - share)
    saved = "" if share is None else f" {100 * share:.0f} %,"
    next_run = "starts again" if share is None else "resumes"
    what = f"runs:{saved} {minutes(elapsed)} min so far" if note.runs else f"interrupted:{saved} {next_run}"
    return StageStatus(group, key, False, None, left, f"{key} {what}".strip())


def group_line(group: str, members: list[StageStatus]) -> str:
    """The stages of a group: how many are done, their minutes, and the minutes left."""
    took = [stage.took for stage in members if stage.took is not None]
    left = sum(stage.left for stage in members)
    done = f"{sum(stage.is_done for stage in members)}/{len(members)}"
    shown = f"{minutes(sum(took)) if took else '':>9}{minutes(left) if left else '':>7}"
    notes = ", ".join(stage.note for stage in members if stage.note)
    return f"{group:<18}{done:>7}{shown}  {notes}".rstrip()


def last_line(stages: Iterable[StageStatus], notes: Mapping[str, Note]) -> str:
    """The rest's minutes and how sure they are, and what to do if nothing runs."""
    open_stages = [stage for stage in stages if not stage.is_done]
    if not open_stages:
        return "All stages are done."
    left = minutes(sum(stage.left for stage in open_stages))
    runs = any(note.runs for note in notes.values())
    measured = sum(note.whole and note.seconds is not None for note in notes.values())
    basis = (
        f"at this machine's pace; stages measured: {measured}"
        if measured
        else "rough: the times of another machine with 2 cores"
    )
    advice = "" if runs else " No stage runs; `uv run dvc repro` continues."
    return f"About {left} min left ({basis}).{advice}"


def minutes(seconds: float) -> str:
    """Minutes with one decimal below ten."""
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:.0f}"
