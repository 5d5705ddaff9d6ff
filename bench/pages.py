"""Refreshes the tables of docs/experiments/*.md from CSV files.

    uv run python -m bench.pages

A comment `<!-- table NAME -->` precedes each table, and this command replaces the table after it.
tables.yaml in docs/experiments/data defines NAME: a CSV file of docs or docs/experiments/data, the
columns to show, the rows to select (`where`), and the columns that rows must share to be averaged (`per`;
the column `evolutions` then counts them). `<!-- steps -->` is the table of published agents in the order
of docs/experiments/data/steps.csv.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

from bench import process, tables
from bench.tables import Row
from wm.errors import BadInput
from wm.runtime import files, run

DOCS = Path(__file__).parents[1] / "docs"
PAGES, DATA = DOCS / "experiments", DOCS / "experiments" / "data"
MARK = re.compile(r"(<!-- (?:table (\w+)|steps) -->\n)(?:\n?(?:\|.*\n)+)?")
STEP_HEADS = ["step", "run", "real mean", "real std", "points gained", "below 600", "fresh tracks", "page"]


class Query(NamedTuple):
    """What a table shows: columns of a CSV file, for selected rows, averaged over groups if there are any."""

    file: str
    columns: list[str]
    per: list[str] | None = None
    where: dict[str, list[str]] | None = None


def main() -> None:
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (fresh := refreshed(text)) != text:
            with files.replacing(page) as unfinished:
                unfinished.write_text(fresh, encoding="utf-8")
            print(page)


def refreshed(text: str) -> str:
    """The page with its tables made again."""
    return MARK.sub(lambda mark: f"{mark[1]}\n{table(mark[2]) if mark[2] else steps()}\n", text)


def table(name: str) -> str:
    """A table of tables.yaml as Markdown. Raises BadInput for an unknown name."""
    known = definitions()
    if name not in known:
        raise BadInput(f"{DATA / 'tables.yaml'}: found no table {name}, expected one of {', '.join(known)}")
    query = Query(**known[name])
    lines = [[shown(row[column]) for column in query.columns] for row in select(query)]
    return tables.markdown([column.replace("_", " ") for column in query.columns], lines)


def definitions() -> dict[str, dict]:
    """The tables that tables.yaml defines, by name."""
    return YAML(typ="safe").load(DATA / "tables.yaml")


def select(query: Query) -> list[Row]:
    """The rows that pass all filters, averaged over groups. Raises BadInput if there are none."""
    path = next(folder / query.file for folder in (DOCS, DATA) if (folder / query.file).exists())
    filters = (query.where or {}).items()
    rows = [row for row in tables.rows(path) if all(row[column] in values for column, values in filters)]
    if not rows:
        raise BadInput(f"{path.name}: found no row for {query.where}, expected at least one")
    return list(averaged(rows, query.columns, query.per)) if query.per else rows


def averaged(rows: Iterable[Row], columns: list[str], per: list[str]) -> Iterator[Row]:
    """One row per group: its labels, the mean of each numeric column, and the number of rows."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in per), []).append(row)
    for key, group in groups.items():
        labels = dict(zip(per, key, strict=True)) | {"evolutions": str(len(group))}
        measured = [column for column in columns if column not in labels]
        yield labels | {column: mean([row[column] for row in group]) for column in measured}


def mean(values: list[str]) -> str:
    """The mean of numbers written as text; empty if one is missing."""
    if "" in values:
        return ""
    average = sum(map(float, values)) / len(values)
    return str(int(average)) if average.is_integer() else f"{average:.4f}"


def shown(value: str) -> str:
    """A cell: numbers with a decimal point get one decimal, or three digits below 10 in size."""
    if not re.fullmatch(r"-?\d+\.\d+", value):
        return value
    number = float(value)
    return f"{number:.3g}" if abs(number) < 10 else f"{number:.1f}"


def steps() -> str:
    """The published agents in order: real score, points gained, drives below 600, score on fresh tracks."""
    published = {
        row["run"]: row for row in tables.rows(DOCS / "runs.csv") if row["published"] and row["seed"] == "1"
    }
    reported = tables.rows(DATA / "reported.csv")[0]
    before = float(reported["real"])
    lines = [[f"Reported by {reported['who']}", "", f"{before:.0f}", "", "", "", "", ""]]
    for step in tables.rows(DATA / "steps.csv"):
        row = published[step["run"]]
        real = float(row["real_mean"])
        scores = [f"{real:.0f}", f"{float(row['real_std']):.0f}", f"{real - before:+.0f}", row["below_600"]]
        lines.append([step["step"], step["run"], *scores, fresh(step["run"]), link(step["page"])])
        before = real
    return tables.markdown(STEP_HEADS, lines)


def link(number: str) -> str:
    """A link to the page with this number."""
    (page,) = PAGES.glob(f"{number}-*.md")
    return f"[{number}]({page.name})"


def fresh(name: str) -> str:
    """Mean real score of a run's agent on all its fresh tracks; empty without any."""
    rows = [
        row
        for row in tables.rows(DATA / "fresh_tracks.csv")
        if row["run"] == name and row["first_track"] != "900000"
    ]
    tracks = sum(int(row["tracks"]) for row in rows)
    points = sum(float(row["real_mean"]) * int(row["tracks"]) for row in rows)
    return f"{points / tracks:.0f}" if rows else ""


if __name__ == "__main__":
    process.set_up()
    run.run(main)
