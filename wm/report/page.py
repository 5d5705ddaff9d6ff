"""What the report says: does the agent drive, did the dream tell the truth, and how it all came about."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wm.data.episode import Record
from wm.report import charts, markup
from wm.report.charts import Rows

FRAMES_PER_SECOND = 50
SOLVED = 900  # points, from which on Gymnasium calls the task solved

TITLES = {
    "rounds": "Round by round",
    "film": "A drive as a film",
    "learning": "How it learned",
    "truth": "Where the dream is wrong",
    "data": "The drives behind it",
    "made": "How this was made",
}


class Round(NamedTuple):
    """A round's files: `<field>.json` or `<field>.csv` in its folder of metrics."""

    name: str
    dream: Mapping[str, Any]
    real: Mapping[str, Any]
    fidelity: Mapping[str, Any]
    tracks: Rows  # real.csv
    train_rnn: Rows
    evolve: Rows
    exploitation: Rows


class Source(NamedTuple):
    """One driver's drives: how many there are, are kept, have a mirrored twin, and of the kept ones
    are set aside for validation; scores of all, in points; steps of the kept ones. No twin counts."""

    name: str
    drives: int
    kept: int
    twins: int
    validation: int
    mean: float
    worst: float
    best: float
    steps: int


class Content(NamedTuple):
    """All that the page shows; pictures and film are the bytes of their files."""

    rounds: Sequence[Round]
    chosen: Round  # the one whose driver is published
    train_vae: Rows
    active_dimensions: int
    ranked: Rows
    rank_correlation: float
    sources: Sequence[Source]
    strip: bytes
    film: bytes
    reconstructions: bytes
    params: Mapping[str, Any]
    versions: Mapping[str, str]


def page(content: Content) -> str:
    """The whole document."""
    return markup.document(
        "A driver trained inside its own dream: report",
        first_screen(content),
        rounds_section(content),
        film_section(content),
        learning_section(content),
        truth_section(content),
        data_section(content.sources),
        made_section(content),
    )


def sources(records: Sequence[Record]) -> list[Source]:
    """Each source's drives, in the order of their first ones."""
    return [
        summary(name, [record for record in records if record.source == name])
        for name in dict.fromkeys(record.source for record in records)
    ]


def summary(name: str, records: Sequence[Record]) -> Source:
    """The summary of one source's drives."""
    drives = [record for record in records if not record.mirrored]
    kept = [record for record in drives if record.kept]
    scores = [record.score for record in drives]
    return Source(
        name=name,
        drives=len(drives),
        kept=len(kept),
        twins=len(records) - len(drives),
        validation=sum(record.validation for record in kept),
        mean=float(np.mean(scores)),
        worst=min(scores),
        best=max(scores),
        steps=sum(record.length for record in kept),
    )


def first_screen(content: Content) -> str:
    """The two questions, their answers and figures, a drive, and both worlds' scores by round."""
    strip = markup.picture(
        content.strip,
        "Six moments of a real drive",
        "Six moments of the median real drive, the left column first. Each: the real picture, what is left of"
        f" it in {latent_size(content)} numbers, and what the dream had expected one step before.",
    )
    chart = markup.chart(
        charts.by_round(score_rows(content.rounds)),
        "Scores in dream and reality by round",
        "Mean scores by round with 95 % intervals. In each round the driver is made in the dream alone; what"
        " it then meets on real tracks corrects the next round's dream.",
    )
    return "".join(
        [
            markup.heading(1, "A driver trained inside its own dream"),
            markup.paragraph(
                "From recorded drives a network learns how the game CarRacing-v3 goes on: what will be seen"
                " and won after each action. Run on its own expectations it is a dream of the game, and in"
                " that dream a driver is evolved. Then the driver is set on the real game."
            ),
            markup.answers(verdict(content.chosen)),
            markup.cards(headline(content)),
            markup.pair(chart, strip),
            markup.links(TITLES),
        ]
    )


def verdict(chosen: Round) -> dict[str, str]:
    """The two questions and what the chosen round's figures say to them."""
    real, dream = chosen.real["score"], chosen.dream["score"]
    gap, error = difference(chosen)
    judged = "chance alone can explain that" if abs(gap) <= error else "that is more than chance explains"
    return {
        "Does it drive?": f"The driver of round {chosen.name}, the newest of those that the last rounds'"
        f" dreams like best, scores {number(real['mean'])} points in the mean of {real['n']} tracks that"
        f" nothing else ever used ({number(real['min'])} at worst, {number(real['max'])} at best), and"
        f" finishes the lap in time on {chosen.real['laps']} of them."
        f" Standing still brings about {number(-100.0)}, {SOLVED} counts as solved, and the paper's driver,"
        f" trained on real tracks, scored {charts.PAPER}.",
        "Did the dream tell the truth?": f"It promised {number(dream['mean'])} points:"
        f" {number(abs(gap))} too {'many' if gap > 0 else 'few'}, and {judged} (the 95 % interval of the"
        f" difference is ± {number(error)}).",
    }


def headline(content: Content) -> list[tuple[str, str]]:
    """The four figures that matter, and what they are."""
    chosen = content.chosen
    real, dream = chosen.real["score"], chosen.dream["score"]
    return [
        (interval(real), f"points on real tracks: mean of {real['n']} drives, 95 % interval"),
        (interval(dream), f"points in the dream: mean of {dream['n']} dreamt drives, 95 % interval"),
        (gap_figure(chosen), "gap: what the dream promised, less what reality gave"),
        (
            f"{number(content.rank_correlation, '.2f')}",
            f"rank correlation of dream and reality over {len(content.ranked)} controllers, good and bad"
            " (1: the same order, 0: no relation)",
        ),
    ]


def difference(one: Round) -> tuple[float, float]:
    """Dream minus real, in points, and half of its 95 % interval."""
    real, dream = one.real["score"], one.dream["score"]
    return dream["mean"] - real["mean"], 1.96 * float(np.hypot(real["sem"], dream["sem"]))


def gap_figure(one: Round) -> str:
    """The gap in per cent of the real score, or in points where that is no measure."""
    gap, real = difference(one)[0], one.real["score"]["mean"]
    return f"{number(100 * gap / real, '+.1f')} %" if real > 0 else f"{number(gap, '+.0f')} points"


def interval(score: Mapping[str, Any]) -> str:
    """Mean and half of its 95 % interval, in points."""
    return f"{number(score['mean'])} ± {number(1.96 * score['sem'])}"


def number(value: float, form: str = ".0f") -> str:
    """A number as people write it."""
    return format(value, form).replace("-", "\N{MINUS SIGN}")


def lap_time(frames: float | None) -> str:
    """The game's seconds of so many frames."""
    return "none" if frames is None else f"{frames / FRAMES_PER_SECOND:.1f} s"


def latent_size(content: Content) -> int:
    """How many numbers a picture becomes."""
    return content.params["train_vae"]["latent_size"]


def score_rows(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """A line a round: mean scores in both worlds, with their standard errors, in points."""
    rows = []
    for one in rounds:
        row: dict[str, Any] = {"round": one.name}
        for world, score in (("dream", one.dream["score"]), ("real", one.real["score"])):
            row |= {world: score["mean"], f"{world}_sem": score["sem"]}
        rows.append(row)
    return rows


def rounds_section(content: Content) -> str:
    """Figures of every round, the spread of the chosen one's drives, and the ranking."""
    head = [
        "round",
        "real ± 95 %",
        "std",
        "worst",
        "median",
        "best",
        "laps",
        "lap time",
        "missed",
        "off field",
        "dream ± 95 %",
        "gap",
    ]
    rows = []
    for one in content.rounds:
        real = one.real["score"]
        rows.append(
            [
                one.name,
                interval(real),
                *(number(real[key]) for key in ("std", "min", "median", "max")),
                f"{one.real['laps']} of {real['n']}",
                lap_time(one.real["lap_frames"]),
                number(one.real["missed"], ".1f"),
                number(100 * one.real["failures"]) + " %",
                interval(one.dream["score"]),
                number(difference(one)[0], "+.0f"),
            ]
        )
    spread = markup.chart(
        charts.tracks(content.chosen.tracks),
        "Histogram of real scores",
        f"The real drives of round {content.chosen.name}, one a track.",
    )
    ranked = markup.chart(
        charts.ranks(content.ranked),
        "Scores in the dream against scores on real tracks",
        "Controllers of all qualities (on evolution's way, or with noise on their numbers), all in the"
        " same dreams, of the last rounds. Only if what scores high there scores high in reality is it worth"
        " training there.",
    )
    words = (
        "Scores of whole drives, in points. Laps: finished within the game's 1,000 frames, and their mean"
        " time. Missed: tiles of the road gone past untouched, a drive. Off field: drives that left the"
        " playing field."
    )
    return part("rounds", markup.paragraph(words), markup.table(head, rows), markup.pair(spread, ranked))


def film_section(content: Content) -> str:
    """The median drive."""
    caption = (
        "The median real drive of the chosen round at the game's pace: real picture, reconstruction, what the"
        " dream had expected one step before."
    )
    return part("film", markup.film(content.film, caption))


def learning_section(content: Content) -> str:
    """V, M and C as they were trained."""
    vae = markup.chart(
        charts.vae_loss(content.train_vae),
        "Loss of V by gradient step",
        f"At the end {content.active_dimensions} of the {latent_size(content)} numbers are in use. The"
        " squared error is a sum over a picture's 64 x 64 x 3 values between 0 and 1.",
    )
    seen = markup.picture(
        content.reconstructions,
        "Frames above their reconstructions",
        "Above: frames of tracks that V was never trained on. Below: what it makes of them.",
    )
    rnn = markup.chart(
        charts.rnn_loss({one.name: one.train_rnn for one in content.rounds}),
        "Loss of M by gradient step, round after round",
        "Each round goes on from the one before, with new drives. The loss is for the most part a negative"
        " log-likelihood: its zero means nothing, its fall does.",
    )
    evolution = markup.chart(
        charts.evolution({one.name: one.evolve for one in content.rounds}),
        "Evolution by generation, round by round",
        "Left: the mean over a generation, of what its dreams won and what is expected to follow. Each"
        " round dreams its own dream, so heights of different rounds cannot be compared. Right: how far"
        " CMA-ES looks.",
    )
    return part(
        "learning",
        *[markup.heading(3, "V: from a picture to a few numbers, and back"), vae, seen],
        *[markup.heading(3, "M: what comes next"), rnn],
        *[markup.heading(3, "C: the driver, evolved in the dream"), evolution],
    )


def truth_section(content: Content) -> str:
    """Where dream and reality part: open loop, and under the driver's own plans."""
    chosen = content.chosen
    drift = markup.chart(
        charts.drift({one.name: one.fidelity["drift"] for one in content.rounds}),
        "Errors of the open-loop dream by steps dreamt",
        "The dream is told the actions of a real drive, but sees its pictures no longer. It knows the road"
        " that was in sight, and must invent the rest.",
    )
    test = markup.chart(
        charts.exploitation(chosen.exploitation),
        "Rewards promised by the dream and given by reality",
        f"The driver of round {chosen.name} drives on in the dream from moments of real drives; the same"
        " actions are then carried out, blind, on the real track from that very moment. Where the lines part,"
        " the dreamt road is no longer the real one: a driver that looks turns with the real road, a blind"
        " plan cannot.",
    )
    return part(
        "truth",
        *[markup.heading(3, "Dreaming on under a real drive's actions"), drift],
        *[markup.heading(3, "Exploitation test: the driver's dreamt plans, carried out"), test],
    )


def data_section(found: Sequence[Source]) -> str:
    """The drives by source."""
    counts = ("drives", "kept", "twins", "validation")
    head = [
        "driver",
        "drives",
        "kept",
        "mirrored twins",
        "set aside",
        "mean score",
        "worst",
        "best",
        "steps kept",
    ]
    rows = [
        [
            one.name,
            *(f"{getattr(one, count):,}" for count in counts),
            *(number(score) for score in (one.mean, one.worst, one.best)),
            f"{one.steps:,}",
        ]
        for one in found
    ]
    total = [f"{sum(getattr(one, count) for one in found):,}" for count in counts]
    rows.append(["all", *total, "", "", "", f"{sum(one.steps for one in found):,}"])
    words = (
        "Whole drives on real tracks: of scripted drivers first, then of each round's agent as it explores."
        " A mirrored twin is a kept drive turned left to right. What is set aside is for validation:"
        " tracks that no model is trained on."
    )
    return part("data", markup.paragraph(words), markup.table(head, rows))


def made_section(content: Content) -> str:
    """Commands, parameters, versions."""
    parameters = [[name, str(value)] for name, value in flat(content.params)]
    versions = [list(pair) for pair in content.versions.items()]
    return part(
        "made",
        markup.commands(
            [
                "uv run dvc repro                  # everything, from nothing to this page",
                "uv run python -m stages.report    # this page, from what is there",
            ]
        ),
        markup.folded(
            f"{len(parameters)} parameters: params.yaml", markup.table(["parameter", "value"], parameters)
        ),
        markup.folded(f"{len(versions)} libraries", markup.table(["library", "version"], versions)),
    )


def flat(params: Mapping[str, Any], place: str = "") -> list[tuple[str, Any]]:
    """Names such as `evolve.search.sigma0`, and their values."""
    found: list[tuple[str, Any]] = []
    for name, value in params.items():
        where = f"{place}.{name}" if place else name
        found += flat(value, where) if isinstance(value, Mapping) else [(where, value)]
    return found


def part(anchor: str, *parts: str) -> str:
    """A section under its title."""
    return markup.section(anchor, TITLES[anchor], *parts)
