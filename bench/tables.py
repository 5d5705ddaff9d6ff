"""CSV files and Markdown tables, as the docs hold them."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from wm.runtime import files

Row = dict[str, str]


def rows(path: Path) -> list[Row]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(row: dict[str, object], path: Path) -> None:
    """Adds a row at the end of a CSV file, which is created if missing.

    New columns come last and are empty in earlier rows.
    """
    earlier = rows(path) if path.exists() else []
    columns = [*(earlier[0] if earlier else []), *row]
    table = [dict.fromkeys(columns, "") | line for line in [*earlier, row]]
    files.write_csv(path, table)


def markdown(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def table(heads: str, lines: Iterable[Sequence[str]]) -> None:
    """Prints a Markdown table; `heads` separates its names by commas."""
    print(markdown([name.strip() for name in heads.split(",")], lines) + "\n")
