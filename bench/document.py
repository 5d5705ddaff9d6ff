"""Writes the tables of docs/performance.md, gpu.md and scale.md from bench/results/*.csv, and docs/*.svg.

    uv run python -m bench.document

A table stands between the lines `<!-- bench/results/NAME.csv -->` and `<!-- end -->` of its document.
"""

import csv
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import process, tables
from bench.runs import RUNS
from wm.runtime import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
DOCUMENTS = tuple(ROOT / "docs" / name for name in ("performance.md", "gpu.md", "scale.md"))
CHART, CURVES = ROOT / "docs" / "stage_minutes.svg", ROOT / "docs" / "score_curves.svg"
LOSSES, METRICS = ROOT / "docs" / "loss_curves.svg", ROOT / "metrics"
RECIPES = {
    "two-costs": ("default", "#4477aa"),
    "long-horizon": ("long-horizon", "#88ccee"),
    "two-frames": ("best", "#cc6677"),
}  # by run
BLOCK = re.compile(r"(<!-- bench/results/(\w+)\.csv -->).*?(<!-- end -->)", re.DOTALL)
XEON, EPYC = "Intel Xeon with AVX-512, 2 cores", "AMD EPYC, 2 cores"

Rows = list[dict[str, str]]


def main() -> None:
    for path in DOCUMENTS:
        with files.replacing(path) as unfinished:
            unfinished.write_text(rendered(path.read_text(encoding="utf-8")), encoding="utf-8")
    with drawing():
        draw_chart(CHART)
        draw_curves(CURVES)
        draw_losses(LOSSES)


@contextmanager
def drawing() -> Iterator[None]:
    """Charts with text as text, and the same bytes every time."""
    import matplotlib

    matplotlib.use("agg")
    with matplotlib.rc_context({"svg.hashsalt": "stages", "svg.fonttype": "none", "font.size": 10}):
        yield


def rendered(document: str) -> str:
    """The document with its tables made from the CSV files."""

    def filled(block: re.Match[str]) -> str:
        return f"{block[1]}\n\n{table(*TABLES[block[2]](read(block[2])))}\n\n{block[3]}"

    return BLOCK.sub(filled, document)


def read(name: str) -> Rows:
    """The rows of bench/results/`name`.csv."""
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(heads: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    head, *rows = (f"| {' | '.join(cells)} |" for cells in (heads, *lines))
    return "\n".join([head, "|---" * len(heads) + "|", *rows])


def speed(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """Both CPUs side by side: rates, the peer's rate and the ratio."""
    heads = ["path", "unit", "peer", "Xeon", "Xeon, peer", "ratio", "EPYC", "EPYC, peer", "ratio"]
    other = {(row["path"], row["peer"]): row for row in rows if row["machine"] == EPYC}
    on_xeon = [row for row in rows if row["machine"] == XEON]
    return heads, [
        [row["path"], row["unit"], row["peer"], *rates(row), *rates(other[row["path"], row["peer"]])]
        for row in on_xeon
    ]


def gpu(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """Rates on the GPU."""
    heads = ["path", "unit", "rate", "jax.lax"]
    return heads, [[row["path"], row["unit"], *rates(row)[:2]] for row in rows]


def stage_minutes(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """Minutes of each group of stages, and of all, in each timed run."""
    names = list(dict.fromkeys(row["run"] for row in rows))
    minutes = {(row["stages"], row["run"]): row["minutes"] for row in rows}
    groups = list(dict.fromkeys(row["stages"] for row in rows))
    lines = [[stages, *(minutes[stages, name] for name in names)] for stages in groups]
    totals = [f"{sum(float(minutes[stages, name]) for stages in groups):.0f}" for name in names]
    return ["stages", *names], [*lines, ["all", *totals]]


def paper_h200(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """What was measured of each stage, and the minutes of the whole profile extrapolated from it."""
    heads = [
        "stage",
        "measured",
        "seconds",
        "before the first step",
        "pace after it",
        "whole profile, minutes",
    ]
    total = sum(int(row["paper_minutes"]) for row in rows)
    return heads, [*(list(row.values()) for row in rows), ["all", "", "", "", "", str(total)]]


def memory(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """Seconds and MB of each stage for the default number of drives and ten times as many."""
    few, many = sorted({int(row["drives"]) for row in rows})
    found = {(row["stage"], int(row["drives"])): row for row in rows}
    heads = ["stage"] + [f"{unit}, {count:,} drives" for count in (few, many) for unit in ("s", "MB")]
    pairs = [(count, key) for count in (few, many) for key in ("seconds", "megabytes")]
    names = dict.fromkeys(row["stage"] for row in rows)
    return heads, [[name, *(grouped(found[name, count][key]) for count, key in pairs)] for name in names]


def as_it_is(*heads: str) -> Callable[[Rows], tuple[list[str], list[list[str]]]]:
    """The CSV file's cells under these headings."""
    return lambda rows: (list(heads), [list(row.values()) for row in rows])


TABLES: dict[str, Callable[[Rows], tuple[list[str], list[list[str]]]]] = {
    "speed": speed,
    "gpu": gpu,
    "stage_minutes": stage_minutes,
    "paper_h200": paper_h200,
    "memory": memory,
    "footprint": lambda rows: (
        list(rows[0]),
        [[what, *map(grouped, sizes)] for what, *sizes in (row.values() for row in rows)],
    ),
    "drives": as_it_is("workers", "where", "scripted drives, minutes", "agent's drives, minutes"),
}


def rates(row: dict[str, str]) -> list[str]:
    """Our rate, the peer's, and ours over the peer's; without a peer, empty cells."""
    ratio = f"{float(row['ours']) / float(row['peer_rate']):.2f}" if row["peer_rate"] else ""
    return [grouped(row["ours"]), grouped(row["peer_rate"]), ratio]


def grouped(figure: str) -> str:
    """A number of 1,000 or more with commas; others as they are."""
    return f"{int(figure):,}" if figure.isdecimal() else figure


def draw_chart(path: Path) -> None:
    """Minutes of each group of stages in the first timed run of each profile, as horizontal bars."""
    from matplotlib import pyplot

    rows = read("stage_minutes")
    groups = list(dict.fromkeys(row["stages"] for row in rows))
    profiles = {row["run"].partition(",")[0]: row["run"] for row in reversed(rows)}
    figure, axes = pyplot.subplots(figsize=(7.5, 4), layout="constrained")
    for number, (profile, run) in enumerate(profiles.items()):
        found = {row["stages"]: float(row["minutes"]) for row in rows if row["run"] == run}
        minutes = [found[stages] for stages in groups]
        places = [place + 0.2 - 0.4 * number for place in range(len(groups))]
        label, colour = f"{profile}: {sum(minutes):.0f} minutes", dict(RECIPES.values())[profile]
        axes.bar_label(axes.barh(places, minutes, 0.38, color=colour, label=label), padding=3, fontsize=8)
    axes.set(xlabel="minutes on 2 cores", yticks=range(len(groups)), yticklabels=groups)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.legend(loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw_curves(path: Path) -> None:
    """Real score of each round against the minutes until its agent had driven, and against the real frames
    that its models have learned from, of the first seed for which they were recorded."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for name, (label, colour) in RECIPES.items():
        rounds = [row for row in tables.rows(RUNS) if row["run"] == name]
        for axes, column, unit in zip(panels, ("minutes", "real_frames"), (1, 1e6), strict=True):
            filled = [row for row in rounds if row[column]]
            rows = [row for row in filled if row["seed"] == filled[0]["seed"]]
            known = [float(row[column]) / unit for row in rows]
            axes.plot(known, [float(row["real_mean"]) for row in rows], "o-", color=colour, label=label)
    for axes, label in zip(panels, ("minutes on 2 cores", "million real frames"), strict=True):
        axes.set(xlabel=label, xlim=(0, None), ylim=(400, 950))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("real score")
    panels[1].legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw_losses(path: Path) -> None:
    """Validation loss of V, and of M's watcher in each round, after each number of gradient steps."""
    from matplotlib import pyplot

    figure, (of_v, of_m) = pyplot.subplots(1, 2, figsize=(9, 3), layout="constrained")
    curve(of_v, METRICS / "train_vae.csv", "loss", "#4477aa", "V")
    of_v.set_ylabel("V: loss of a frame")
    names = sorted(folder.name for folder in (METRICS / "rounds").iterdir())
    colours = pyplot.get_cmap("viridis", len(names))
    for number, name in enumerate(names):
        curve(of_m, METRICS / "rounds" / name / "train_rnn.csv", "nll", colours(number), name)
    of_m.set_ylabel("M: NLL of the next latent, nats")
    of_m.legend(fontsize=8)
    for axes in (of_v, of_m):
        axes.set(xlabel="gradient steps", xlim=(0, None))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def curve(axes: "Axes", path: Path, column: str, colour: object, label: str) -> None:
    """Draws a column of a training's CSV file against its steps."""
    rows = tables.rows(path)
    steps, values = ([float(row[name]) for row in rows] for name in ("step", column))
    axes.plot(steps, values, ".-", color=colour, label=label)


if __name__ == "__main__":
    process.set_up()
    main()
