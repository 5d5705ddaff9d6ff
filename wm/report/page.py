"""metrics/report.html: one HTML file about a run that needs no other file and no network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wm.agent.summary import IMPOSSIBLE, LOW
from wm.report import charts
from wm.report.content import ChosenResults, Content, RoundResults, Source, score_rows
from wm.report.numbers import Rows, column, half_interval, round_tracks
from wm.report.poster import poster
from wm.report.template import number, render
from wm.runtime.results import Summary
from wm.spec import FPS, PAPER_SCORE, SOLVED

SPACE = "\N{NO-BREAK SPACE}"
TITLES = {
    "rounds": "Results by round",
    "drive": "A drive in pictures",
    "training": "Training",
    "truth": "Where the dream is wrong",
    "data": "Training data",
    "reproduce": "How to reproduce",
}
# Below these sizes the numbers of a run mean nothing: 20 drives, a tenth of the default profile's training.
LEAST_SIZES = {
    "evaluate.episodes": 20,
    "train_vae.steps": 280,
    "train_rnn.first_round_steps": 300,
    "evolve.search.generations": 4,
}
LEAST_SPREAD = 10.0  # points between the worst and the best controller; with less, their order is chance
CLOSE = 0.1  # of the real score; with at most this gap a dream is nearly true


def page(content: Content) -> str:
    """The whole document."""
    gap, gap_error = score_gap(content.chosen)
    parameters = dict(flat(content.params))
    derived = {
        "titles": TITLES,
        "interval": interval,
        "lap_time": lap_time,
        "solved": SOLVED,
        "low": LOW,
        "paper_score": PAPER_SCORE,
        "too_small": too_small(parameters),
        "equal_worlds": equal_worlds(content.ranked),
        "least_spread": number(LEAST_SPREAD),
        "poster": poster(content.strip),
        "drives": drives_verdict(content.chosen),
        "truth": truth_verdict(content.chosen),
        "impossible": content.chosen.dream.score.mean > IMPOSSIBLE,
        "gap": gap,
        "gap_words": gap_words(gap),
        "gap_error": gap_error,
        "gap_figure": gap_figure(content.chosen),
        "latent_size": parameters["train_vae.latent_size"],
        "charts": drawn(content),
        "round_rows": [round_row(results) for results in content.rounds],
        "round_tracks": round_tracks(score_rows(content.rounds)),
        "source_rows": source_rows(content.sources),
        "parameters": parameters.items(),
    }
    return render("report.html.j2", content._asdict() | derived)


def flat(params: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Names such as `evolve.search.sigma0` with their values."""
    for name, value in params.items():
        where = f"{place}.{name}" if place else name
        if isinstance(value, Mapping):
            yield from flat(value, where)
        else:
            yield where, value


def too_small(parameters: Mapping[str, Any]) -> list[str]:
    """The parameters, by their full names, that are so small that the numbers of the run mean nothing."""
    return [
        f"{name} is {parameters[name]}, less than {least}"
        for name, least in LEAST_SIZES.items()
        if parameters[name] < least
    ]


def equal_worlds(ranked: Rows) -> list[str]:
    """Where all controllers score the same, so that their order says nothing: in dreams, on real tracks."""
    worlds = {"dream": "in dreams", "real": "on real tracks"}
    return [words for name, words in worlds.items() if np.ptp(column(ranked, name)) < LEAST_SPREAD]


def drives_verdict(results: ChosenResults) -> str:
    """Whether the agent drives, in a word or two."""
    mean = results.real.score.mean
    return "Yes" if mean >= SOLVED else "In part" if mean >= LOW else "No"


def truth_verdict(results: ChosenResults) -> str:
    """Whether the dream predicts the real score, in a word or two."""
    gap, error = score_gap(results)
    if results.dream.score.mean > IMPOSSIBLE:
        return "No"
    if abs(gap) <= error:
        return "Yes, on average"
    return "Nearly" if abs(gap) <= CLOSE * results.real.score.mean else "No"


def score_gap(results: RoundResults | ChosenResults) -> tuple[float, float]:
    """Dream minus real, in points, and half of its 95 % interval."""
    dream, real = results.dream.score, results.real.score
    return dream.mean - real.mean, half_interval(float(np.hypot(dream.sem, real.sem)))


def gap_words(gap: float) -> str:
    """The gap in whole points, for a sentence."""
    if round(gap) == 0:
        return "as many as on real tracks"
    return f"{number(abs(gap))} points {'more' if gap > 0 else 'less'} than on real tracks"


def gap_figure(results: ChosenResults) -> str:
    """The gap in per cent of the real score; in points if that score is not positive."""
    gap, real = score_gap(results)[0], results.real.score.mean
    return f"{number(100 * gap / real, '+.1f')}{SPACE}%" if real > 0 else f"{number(gap, '+.0f')} points"


def drawn(content: Content) -> dict[str, list[bytes]]:
    """The charts of each figure, as SVG files."""
    return {
        "scores": charts.score_histogram(content.chosen.tracks),
        "vae": charts.vae_loss(content.train_vae),
        "rnn": charts.rnn_loss({results.name: results.train_rnn for results in content.rounds}),
        "evolution": charts.evolution({results.name: results.evolve for results in content.rounds}),
        "drift": charts.drift(content.chosen.drift),
        "exploitation": charts.exploitation(content.chosen.exploitation),
        "closed_loop": charts.closed_loop(content.chosen.closed_loop),
    }


def round_row(results: RoundResults) -> list[str]:
    """A line of the table of rounds."""
    dream, real = results.dream, results.real
    return [
        results.name,
        interval(real.score),
        *(number(value) for value in (real.score.std, real.score.min, real.score.median, real.score.max)),
        f"{real.laps} of {real.score.n}",
        lap_time(real.lap_frames),
        number(real.missed, ".1f"),
        f"{number(100 * real.failures)}{SPACE}%",
        interval(dream.score),
        f"{dream.laps} of {dream.score.n}",
        lap_time(dream.lap_frames),
        number(score_gap(results)[0], "+.0f"),
    ]


def interval(score: Summary) -> str:
    """The mean and half of its 95 % interval, in points."""
    return f"{number(score.mean)} ± {number(half_interval(score.sem))}"


def lap_time(frames: float | None) -> str:
    """Seconds of game time."""
    return "none" if frames is None else f"{number(frames / FPS, '.1f')}{SPACE}s"


def source_rows(sources: Sequence[Source]) -> list[list[str]]:
    """A line for each driver, and their sums."""
    counts = ("drives", "kept", "mirrored", "validation")
    rows = [
        [
            source.name,
            *(f"{getattr(source, count):,}" for count in counts),
            *(number(score) for score in (source.mean, source.lowest, source.highest)),
            f"{source.steps:,}",
        ]
        for source in sources
    ]
    sums = [f"{sum(getattr(source, count) for source in sources):,}" for count in counts]
    return [*rows, ["all", *sums, "", "", "", f"{sum(source.steps for source in sources):,}"]]
