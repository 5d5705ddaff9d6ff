"""The report's charts. The same numbers give the same bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wm.report.numbers import Curves, Rows, column, half_interval, round_tracks, simulator_losses
from wm.spec import PAPER_SCORE

DREAM, REAL, GREY = "tab:purple", "tab:green", "0.45"
CLOSED_LOOP = {  # by quantity in closed_loop.csv: label of its chart's y-axis and the factor to its unit
    "speed": ("speed (units per second)", 1.0),
    "curvature": ("curvature ahead (rad per 100 units)", 100.0),
    "grass": ("wheels on grass (%)", 100.0),
    "reward": ("reward (points per step)", 1.0),
    "missed": ("missed tiles (per 100 steps)", 100.0),
}
BIN_WIDTHS = (10, 20, 25, 50, 100, 200, 250, 500)  # points


def chart(width: float = 6.0, height: float = 3.6) -> Axes:
    """The axes of a new figure of this size in inches."""
    return styled(Figure(figsize=(width, height)).subplots())


def by_step(width: float = 6.0) -> Axes:
    """The axes of a new figure whose x-axis counts steps or generations."""
    axes = chart(width)
    whole_numbers(axes.xaxis)
    return axes


def styled(axes: Axes) -> Axes:
    """The axes with a grid and without a frame."""
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return axes


def svg(axes: Axes) -> bytes:
    """The figure of the axes as an SVG file."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.tight_layout()
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "wm"}):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return content.getvalue()


def svgs(*charts: Axes) -> list[bytes]:
    """The charts as SVG files, which the page sets side by side where it is wide enough."""
    return [svg(axes) for axes in charts]


def whole_numbers(axis: Axis) -> None:
    """Puts the axis's ticks at whole numbers only."""
    axis.set_major_locator(MaxNLocator(integer=True))


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    figure.tight_layout()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=144, metadata={"Software": None})
    return content.getvalue()


def shades(names: Sequence[str]) -> dict[str, Any]:
    """A colour for each round, from light to dark."""
    places = np.linspace(0.85, 0.0, len(names)) if len(names) > 1 else [0.0]
    return dict(zip(names, matplotlib.colormaps["viridis"](places), strict=True))


def rounds(rows: Rows, ranked: Rows) -> bytes:
    """metrics/rounds.png. Left: mean scores with 95 % intervals, from the rows of metrics/rounds.csv. Right:
    controllers in the dream and on real tracks, from the rows of metrics/controllers.csv."""
    figure = Figure(figsize=(11.0, 4.0))
    left, right = map(styled, figure.subplots(1, 2, width_ratios=(3.0, 2.0)))
    labels = {"dream": "dream", "real": f"real, {round_tracks(rows)}"}
    for world, colour, shift in (("dream", DREAM, -0.05), ("real", REAL, 0.05)):
        places = column(rows, "number") + shift
        errors = half_interval(column(rows, f"{world}_sem"))
        style: dict[str, Any] = {"color": colour, "marker": "o", "capsize": 4}
        left.errorbar(places, column(rows, world), errors, label=labels[world], **style)
    paper = f"agent of the paper, trained on real tracks: {PAPER_SCORE}"
    left.axhline(PAPER_SCORE, color=GREY, linestyle=":", label=paper)
    left.set_xticks(column(rows, "number"), [row["round"] for row in rows])
    left.set(xlabel="round", ylabel="mean score of a drive (points)", xlim=(-0.5, len(rows) - 0.5))
    left.legend(loc="best", fontsize="small")
    controllers(right, ranked)
    return png(figure)


def controllers(axes: Axes, ranked: Rows) -> None:
    """Each controller's score in the dream and on real tracks; `ranked` are rows of
    metrics/controllers.csv."""
    for name, colour in shades(list(dict.fromkeys(row["round"] for row in ranked))).items():
        points = [row for row in ranked if row["round"] == name]
        axes.scatter(column(points, "dream"), column(points, "real"), s=16, color=colour, label=name)
    scores = np.concatenate([column(ranked, "dream"), column(ranked, "real")])
    limits = (min(0.0, scores.min()) - 40, max(0.0, scores.max()) + 40)
    axes.plot(limits, limits, color=GREY, linestyle=":", label="equal")
    axes.set(xlabel="median score in the dream (points)", ylabel="mean score on real tracks (points)")
    axes.set(xlim=limits, ylim=limits)
    axes.set_title("snapshots and perturbed controllers", fontsize="medium")
    axes.legend(title="round", fontsize="small", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def vae_loss(rows: Rows) -> list[bytes]:
    """The VAE's loss and its two terms, from the rows of metrics/train_vae.csv."""
    left, right = by_step(), by_step()
    steps = column(rows, "step")
    left.plot(steps, column(rows, "train_loss"), color=GREY, label="training")
    left.plot(steps, column(rows, "loss"), color=REAL, label="validation")
    left.set(xlabel="gradient step", ylabel="loss per frame (sum of both terms)", ylim=(0, None))
    left.legend(fontsize="small")
    right.plot(steps, column(rows, "squared_error"), color=REAL, label="squared error of the frame")
    right.plot(steps, column(rows, "kl"), color=DREAM, label="KL divergence (nats)")
    right.set(xlabel="gradient step", ylabel="validation loss per frame, by term", ylim=(0, None))
    right.legend(fontsize="small")
    return svgs(left, right)


def rnn_loss(curves: Curves) -> list[bytes]:
    """The RNNs' losses, one round after the other, from the rows of each round's train_rnn.csv."""
    axes = by_step(12.0)
    start = 0.0
    for name, rows in curves.items():
        steps = start + column(rows, "step")
        lines = {"train_loss": ("training", GREY, "-"), "loss": ("validation", REAL, "-")}
        lines |= dict.fromkeys(simulator_losses(rows[0]), ("validation, simulator", DREAM, "--"))
        for key, (label, colour, style) in lines.items():
            axes.plot(steps, column(rows, key), style, marker=".", color=colour, label=label)
        axes.axvline(start, color="0.8")
        axes.annotate(f" {name}", (start, 0.97), xycoords=("data", "axes fraction"), va="top", color=GREY)
        start = steps[-1]
    axes.set(xlabel="gradient step, all rounds", ylabel="loss per step (nats + weighted errors)")
    axes.set_xlim(0, start)
    handles, labels = axes.get_legend_handles_labels()
    distinct = dict(zip(labels, handles, strict=True))
    axes.legend(
        distinct.values(),
        distinct.keys(),
        fontsize="small",
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=3,
    )
    return svgs(axes)


def evolution(curves: Curves) -> list[bytes]:
    """Mean fitness and step size by generation, from the rows of each round's evolve.csv."""
    left, right = by_step(), by_step()
    for name, colour in shades(list(curves)).items():
        generations = column(curves[name], "number")
        left.plot(generations, column(curves[name], "mean_fitness"), color=colour, linewidth=1, label=name)
        right.plot(generations, column(curves[name], "sigma"), color=colour, linewidth=1, label=name)
    left.set(xlabel="generation", ylabel="mean fitness of the population (points)")
    right.set(xlabel="generation", ylabel="step size of CMA-ES (sigma)", ylim=(0, None))
    right.legend(title="round", fontsize="small")
    return svgs(left, right)


def drift(errors: Mapping[str, float]) -> list[bytes]:
    """Errors of the open-loop dream by number of steps, from `drift` in fidelity.json."""
    labels = {"latent": "error of the latent z (RMS)", "reward": "error of the summed reward (RMS, points)"}
    charts = []
    for kind, label in labels.items():
        panel = by_step()
        steps = sorted(int(key.split("_")[1]) for key in errors if key.startswith(kind))
        panel.plot(steps, [errors[f"{kind}_{n}"] for n in steps], "o-", color=DREAM)
        panel.set(xlabel="steps since the dream began", ylabel=label, ylim=(0, None), xlim=(0, None))
        charts.append(panel)
    return svgs(*charts)


def exploitation(rows: Rows) -> list[bytes]:
    """The same actions in the dream and on the real track, from the rows of exploitation.csv."""
    left, right = by_step(), by_step()
    steps = column(rows, "steps")
    left.plot(steps, column(rows, "dream_reward"), "o-", color=DREAM, label="dream")
    left.plot(steps, column(rows, "real_reward"), "o-", color=REAL, label="real track")
    left.axhline(0, color=GREY, linewidth=0.8)
    left.set(xlabel="steps since the dream began", ylabel="mean reward (points per step)", xlim=(0, None))
    left.legend(fontsize="small")
    right.plot(steps, 100 * column(rows, "dream_winning"), "o-", color=DREAM, label="new tile, dream")
    right.plot(steps, 100 * column(rows, "real_winning"), "o-", color=REAL, label="new tile, real track")
    right.plot(
        steps, 100 * column(rows, "real_on_road"), "s:", color=GREY, label="car on the road, real track"
    )
    right.set(xlabel="steps since the dream began", ylabel="share of steps (%)", ylim=(-3, 103))
    right.set_xlim(0, None)
    right.legend(fontsize="small")
    return svgs(left, right)


def closed_loop(rows: Rows) -> list[bytes]:
    """Dream and reality under the same agent by dreamt time, a chart for each quantity in the rows of
    closed_loop.csv."""
    return svgs(*(closed_loop_panel(rows, quantity) for quantity in CLOSED_LOOP), two_sample_panel(rows))


def closed_loop_panel(rows: Rows, quantity: str) -> Axes:
    """A quantity's mean in the dream with error bars, and in reality as a band: 95 % intervals."""
    axes, (label, scale) = chart(), CLOSED_LOOP[quantity]
    dream, real, game = (of_series(rows, quantity, name) for name in ("dream", "real", "game"))
    seconds, mean, low, high = intervals(real, scale)
    axes.fill_between(seconds, low, high, color=REAL, alpha=0.3, linewidth=0)
    axes.plot(seconds, mean, color=REAL, label="real track")
    if game:
        seconds, mean, *_ = intervals(game, scale)
        axes.plot(seconds, mean, ":", color="black", label="real track, as the game states it")
    with_bars(axes, intervals(dream, scale), color=DREAM, label="dream")
    axes.set(xlabel="dreamt seconds", ylabel=label, xlim=(0, None))
    return legend_above(axes)


def two_sample_panel(rows: Rows) -> Axes:
    """The AUC of the classifier that separates dreamt from real latents, for each of its features."""
    axes = chart()
    labels = {"level": "from means over 5 steps", "change": "from changes per step"}
    for (name, label), colour in zip(labels.items(), (DREAM, GREY), strict=True):
        with_bars(axes, intervals(of_series(rows, "auc", name), 1.0), color=colour, label=label)
    axes.axhline(0.5, color=REAL, label="no difference")
    axes.set(xlabel="dreamt seconds", ylabel="AUC of dreamt against real latents", xlim=(0, None))
    axes.set_ylim(min(0.4, axes.get_ylim()[0]), 1.03)
    return legend_above(axes)


def legend_above(axes: Axes) -> Axes:
    """The axes with a legend that covers no curve."""
    axes.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return axes


def of_series(rows: Rows, quantity: str, name: str) -> Rows:
    """The rows of one series of closed_loop.csv."""
    return [row for row in rows if (row["quantity"], row["series"]) == (quantity, name)]


def intervals(rows: Rows, scale: float) -> list[np.ndarray]:
    """The seconds of a series; its mean and the ends of its interval times `scale`."""
    return [column(rows, "seconds"), *(scale * column(rows, part) for part in ("mean", "low", "high"))]


def with_bars(axes: Axes, series: Sequence[np.ndarray], *, color: str, label: str) -> None:
    """Draws a line with error bars."""
    seconds, mean, low, high = series
    errors = np.maximum([mean - low, high - mean], 0)
    axes.errorbar(seconds, mean, errors, fmt="o-", color=color, capsize=3, label=label)


def score_histogram(rows: Rows) -> list[bytes]:
    """How the scores of the evaluation's drives are distributed, from the rows of real.csv."""
    axes = chart(12.0, 3.2)
    laps = np.array([str(row["lap_finished"]) == "True" for row in rows])
    scores = column(rows, "score")
    labels = ["lap finished", "lap not finished"]
    style: dict[str, Any] = {"color": [REAL, "0.7"], "label": labels, "edgecolor": "white"}
    axes.hist([scores[laps], scores[~laps]], bin_edges(scores), stacked=True, **style)
    axes.axvline(scores.mean(), color="black", linestyle=":", label=f"mean: {scores.mean():.0f}")
    axes.set(xlabel="score of a drive (points)", ylabel="number of drives")
    axes.legend(fontsize="small", loc="upper left")
    whole_numbers(axes.yaxis)
    return svgs(axes)


def bin_edges(scores: Float[np.ndarray, " n"]) -> list[float]:
    """The edges of a histogram's bins of equal, round width: the narrowest of which at most 3 sqrt(n) cover
    all scores, but not less than 10 points."""
    most = 3 * np.sqrt(len(scores))
    span = float(np.ptp(scores))
    width = next(width for width in BIN_WIDTHS if span / width <= most or width == BIN_WIDTHS[-1])
    first, last = np.floor(scores.min() / width), np.floor(scores.max() / width) + 1
    return (width * np.arange(first, last + 1)).tolist()
