"""The report's charts, each as the bytes of an SVG: the same numbers give the same bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DREAM, REAL, GREY = "tab:purple", "tab:green", "0.45"
PAPER = 906  # points, of Ha & Schmidhuber's driver with z and h, evolved on the real track

Rows = Sequence[Mapping[str, Any]]
Curves = Mapping[str, Rows]  # by round, oldest first


def column(rows: Rows, name: str) -> np.ndarray:
    """A column's numbers."""
    return np.array([float(row[name]) for row in rows])


def panels(count: int, width: float = 6.0, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A figure of `count` charts side by side, `width` inches each."""
    figure, axes = pyplot.subplots(1, count, figsize=(width * count, height), squeeze=False)
    for one in axes[0]:
        one.grid(color="0.9")
        one.spines[["top", "right"]].set_visible(False)
        one.set_axisbelow(True)
    return figure, list(axes[0])


def svg(figure: Figure) -> bytes:
    """The figure drawn, and forgotten by pyplot."""
    figure.tight_layout()
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "wm"}):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    return content.getvalue()


def shades(names: Sequence[str]) -> dict[str, Any]:
    """A colour for each round, the last one the darkest."""
    places = np.linspace(0.75, 0.0, len(names)) if len(names) > 1 else [0.0]
    return dict(zip(names, matplotlib.colormaps["viridis"](places), strict=True))


def by_round(rows: Rows) -> bytes:
    """Mean scores in dream and reality with 95 % intervals; `rows` are those of metrics/rounds.csv."""
    figure, (axes,) = panels(1, 6.4, 4.0)
    places = np.arange(len(rows))
    for world, colour, shift in (("dream", DREAM, -0.06), ("real", REAL, 0.06)):
        errors = 1.96 * column(rows, f"{world}_sem")
        means = column(rows, world)
        axes.errorbar(places + shift, means, errors, label=world, color=colour, marker="o", capsize=4)
    axes.axhline(PAPER, color=GREY, linestyle=":", label=f"the paper's driver, trained in reality: {PAPER}")
    axes.set_xticks(places, [row["round"] for row in rows])
    axes.set(xlabel="round", ylabel="score of a whole drive (points)", xlim=(-0.5, len(rows) - 0.5))
    axes.legend(loc="best", fontsize="small")
    return svg(figure)


def vae_loss(rows: Rows) -> bytes:
    """V's loss, and what it is made of; `rows` are those of metrics/train_vae.csv."""
    figure, (left, right) = panels(2)
    steps = column(rows, "step")
    left.plot(steps, column(rows, "train_loss"), color=GREY, label="training")
    left.plot(steps, column(rows, "loss"), color=REAL, label="tracks never trained on")
    left.set(xlabel="gradient step", ylabel="loss of a frame", ylim=(0, None))
    left.legend(fontsize="small")
    right.plot(steps, column(rows, "squared_error"), color=REAL, label="squared error of the picture")
    right.plot(steps, column(rows, "kl"), color=DREAM, label="divergence of the latent (nats)")
    right.set(xlabel="gradient step", ylabel="parts, tracks never trained on", ylim=(0, None))
    right.legend(fontsize="small")
    return svg(figure)


def rnn_loss(curves: Curves) -> bytes:
    """M's losses, one round after the other; the rows are those of metrics/<round>/train_rnn.csv."""
    figure, (axes,) = panels(1, 12.0)
    begun = 0.0
    for name, rows in curves.items():
        steps = begun + column(rows, "step")
        lines = {"train_loss": ("training", GREY, "-"), "loss": ("drives never trained on", REAL, "-")}
        simulators = [key for key in rows[0] if key.startswith("simulator_") and key.endswith("_loss")]
        for key in simulators:
            if "_train_" not in key:
                lines[key] = ("the same, the simulators'", DREAM, "--")
        for key, (words, colour, style) in lines.items():
            axes.plot(steps, column(rows, key), style, marker=".", color=colour, label=words)
        axes.axvline(begun, color="0.8")
        axes.annotate(f" {name}", (begun, 0.97), xycoords=("data", "axes fraction"), va="top", color=GREY)
        begun = steps[-1]
    axes.set(xlabel="gradient step, all rounds", ylabel="loss of a step (nats and weighted errors)")
    axes.set_xlim(0, begun)
    handles, words = axes.get_legend_handles_labels()
    once = dict(zip(words, handles, strict=True))
    axes.legend(
        once.values(), once.keys(), fontsize="small", loc="lower right", bbox_to_anchor=(1, 1), ncols=3
    )
    return svg(figure)


def evolution(curves: Curves) -> bytes:
    """The mean worth of a generation's dreams; the rows are those of metrics/<round>/evolve.csv."""
    figure, (left, right) = panels(2)
    colours = shades(list(curves))
    for name, rows in curves.items():
        generations = column(rows, "number")
        left.plot(generations, column(rows, "mean_return"), color=colours[name], linewidth=1, label=name)
        right.plot(generations, column(rows, "sigma"), color=colours[name], linewidth=1, label=name)
    left.set(xlabel="generation", ylabel="worth of a dream, mean of all (points)")
    right.set(xlabel="generation", ylabel="step size of the search", ylim=(0, None))
    left.legend(title="round", fontsize="small")
    return svg(figure)


def drift(found: Mapping[str, Mapping[str, float]]) -> bytes:
    """Errors of the open-loop dream by steps dreamt; `found` holds each round's `drift`."""
    figure, axes = panels(2)
    colours = shades(list(found))
    words = {
        "latent": "error of the latent (root mean square)",
        "reward": "error of the points won since (points)",
    }
    for one, (kind, label) in zip(axes, words.items(), strict=True):
        for name, drifts in found.items():
            steps = sorted(int(key.split("_")[1]) for key in drifts if key.startswith(kind))
            values = [drifts[f"{kind}_{n}"] for n in steps]
            one.plot(steps, values, "o-", color=colours[name], label=name)
        one.set(xlabel="steps dreamt", ylabel=label, ylim=(0, None), xlim=(0, None))
    axes[0].legend(title="round", fontsize="small")
    return svg(figure)


def exploitation(rows: Rows) -> bytes:
    """What dreams promise and reality gives; `rows` are those of metrics/<round>/exploitation.csv."""
    figure, (left, right) = panels(2)
    steps = column(rows, "steps")
    left.plot(steps, column(rows, "dream_reward"), "o-", color=DREAM, label="promised by the dream")
    left.plot(steps, column(rows, "real_reward"), "o-", color=REAL, label="given by the real track")
    left.axhline(0, color=GREY, linewidth=0.8)
    left.set(xlabel="steps since the dream began", ylabel="reward (points a step)", xlim=(0, None))
    left.legend(fontsize="small")
    right.plot(steps, 100 * column(rows, "dream_winning"), "o-", color=DREAM, label="win a tile in the dream")
    right.plot(steps, 100 * column(rows, "real_winning"), "o-", color=REAL, label="win a tile in reality")
    right.plot(steps, 100 * column(rows, "real_on_road"), "s:", color=GREY, label="are on the real road")
    right.set(xlabel="steps since the dream began", ylabel="steps (%) that", ylim=(-3, 103), xlim=(0, None))
    right.legend(fontsize="small")
    return svg(figure)


def ranks(rows: Rows) -> bytes:
    """Each controller's score in dream and reality; `rows` are those of metrics/ranks.csv."""
    figure, (axes,) = panels(1, 6.4, 5.2)
    names = list(dict.fromkeys(row["round"] for row in rows))
    for name, colour in shades(names).items():
        ranked = [row for row in rows if row["round"] == name]
        axes.scatter(column(ranked, "dream"), column(ranked, "real"), s=22, color=colour, label=name)
    both = np.concatenate([column(rows, "dream"), column(rows, "real")])
    low, high = min(0.0, both.min()) - 30, max(both.max(), 0.0) + 30
    axes.plot((low, high), (low, high), color=GREY, linestyle=":", label="equal")
    axes.set(xlabel="median score in dreams (points)", ylabel="mean score on real tracks (points)")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.legend(title="round", fontsize="small", loc="upper left")
    return svg(figure)


def tracks(rows: Rows) -> bytes:
    """How the scores of a round's drives spread; `rows` are those of metrics/<round>/real.csv."""
    figure, (axes,) = panels(1, 6.4, 5.2)
    laps = np.array([str(row["lap_finished"]) == "True" for row in rows])
    scores = column(rows, "score")
    edges = np.histogram_bin_edges(scores, bins=20).tolist()
    axes.hist(
        [scores[laps], scores[~laps]], edges, stacked=True, color=[REAL, "0.7"], label=["lap finished", "not"]
    )
    axes.axvline(scores.mean(), color="black", linestyle=":", label=f"mean {scores.mean():.0f}")
    axes.set(xlabel="score of a drive (points)", ylabel="drives")
    axes.legend(fontsize="small", loc="upper left")
    return svg(figure)
