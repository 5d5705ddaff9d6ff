"""The report: figures, one file alone, nothing unescaped, any number of rounds."""

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from wm.agent import summary
from wm.data.episode import Record
from wm.report import page as report_page
from wm.report.page import Content, Round

HOSTILE = '"><script>alert(1)</script>&'


def world(mean, spread, n=4):
    scores = mean + spread * np.linspace(-1, 1, n)
    none, laps = np.zeros(n), np.arange(n) < 1
    return summary.drives(scores, np.full(n, 900), laps, none + 2, none)


def a_round(name, dream=800.0, real=700.0, spread=10.0):
    rng, steps = np.random.default_rng(0), range(1, 6)
    losses = ("train_loss", "loss", "simulator_0_train_loss", "simulator_0_loss")
    promises = ("dream_reward", "real_reward", "dream_winning", "real_winning", "real_on_road")
    return Round(
        name=name,
        dream=world(dream, spread),
        real=world(real, spread),
        fidelity={"drift": {f"{kind}_{n}": 0.1 * n for kind in ("latent", "reward") for n in (5, 20)}},
        tracks=[{"score": str(real + n), "lap_finished": str(n > 3)} for n in steps],
        train_rnn=[{"step": str(n)} | {key: str(rng.normal()) for key in losses} for n in steps],
        evolve=[{"number": str(n), "mean_return": str(n), "sigma": "0.3"} for n in steps],
        exploitation=[{"steps": str(n)} | {key: str(rng.random()) for key in promises} for n in steps],
    )


def record(source="a", score=1.0, **changes):
    one = Record(0, 7, source, 10, score=score, warm_up_reward=0.5, lap_finished=False)
    return replace(one, **changes)


def content(*rounds):
    vae = [
        {"step": str(n), "train_loss": "3", "loss": "2", "squared_error": "1", "kl": "1"} for n in range(3)
    ]
    return Content(
        rounds=rounds,
        chosen=rounds[-1],
        train_vae=vae,
        active_dimensions=24,
        ranked=[{"round": one.name, "dream": str(n), "real": str(2 * n)} for one in rounds for n in range(3)],
        rank_correlation=0.8857,
        sources=report_page.sources([record(), record(HOSTILE)]),
        strip=b"strip",
        film=bytes(range(256)),
        reconstructions=b"reconstructions",
        params={"train_vae": {"latent_size": 32}, "odd": {"deep": {HOSTILE: HOSTILE}}},
        versions={"numpy": HOSTILE},
    )


@pytest.fixture(scope="module")
def page():
    return report_page.page(content(a_round(HOSTILE), a_round("r1", dream=712.0, real=724.0)))


class Reader(HTMLParser):
    """What a browser would see: the tags in balance, the addresses, the words."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.words = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.addresses += [
            value for name, value in attrs if name in ("src", "href", "poster", "srcset", "data")
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_needs_no_other_file_and_runs_nothing(page):
    seen = Reader(page)
    assert not seen.open
    assert "script" not in seen.tags
    assert "link" not in seen.tags
    assert all(address.startswith(("data:", "#")) for address in seen.addresses)
    assert not re.search(r"url\(|@import|https?://", re.sub(r'src="[^"]*"', "", page))


def test_what_files_say_is_shown_as_words(page):
    assert page.count(HOSTILE) == 0
    assert sum(HOSTILE in words for words in Reader(page).words) >= 4  # round, source, parameter, version


def test_charts_are_whole_drawings_and_the_film_is_the_film(page):
    drawings = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', page)
    assert len(drawings) == 8
    for drawing in drawings:
        assert ET.fromstring(base64.b64decode(drawing)).tag == "{http://www.w3.org/2000/svg}svg"
    film = re.findall(r'src="data:video/webm;base64,([^"]*)"', page)
    assert [base64.b64decode(one) for one in film] == [bytes(range(256))]


def test_the_same_figures_give_the_same_bytes(page):
    assert page == report_page.page(content(a_round(HOSTILE), a_round("r1", dream=712.0, real=724.0)))


def test_one_round_is_enough():
    words = " ".join(Reader(report_page.page(content(a_round("r0")))).words)
    judged = "The driver of round r0, the newest of those that the last rounds' dreams like best, scores 700"
    assert judged in words


def test_the_headline_is_the_last_rounds():
    figures = [
        figure for figure, _ in report_page.headline(content(a_round("r0"), a_round("r1", 712.0, 724.0)))
    ]
    sem = summary.summary(724 + 10 * np.linspace(-1, 1, 4))["sem"]
    assert figures == [f"724 ± {1.96 * sem:.0f}", f"712 ± {1.96 * sem:.0f}", "\N{MINUS SIGN}1.7 %", "0.89"]


def test_a_gap_within_the_interval_is_left_to_chance():
    far = report_page.verdict(a_round("r0", dream=800.0, real=700.0, spread=10.0))
    near = report_page.verdict(a_round("r0", dream=702.0, real=700.0, spread=10.0))
    assert "100 too many, and that is more than chance explains" in far["Did the dream tell the truth?"]
    assert "2 too many, and chance alone can explain that" in near["Did the dream tell the truth?"]
    gap, error = report_page.difference(a_round("r0"))
    sem = np.std(10 * np.linspace(-1, 1, 4), ddof=1) / 2
    assert gap == pytest.approx(100)
    assert error == pytest.approx(1.96 * np.sqrt(2) * sem, abs=0.01)


def test_a_gap_is_no_share_of_a_score_below_nothing():
    assert report_page.gap_figure(a_round("r0", dream=-20.0, real=-50.0)) == "+30 points"


def test_drives_are_counted_by_source_and_without_their_twins():
    records = [
        record("a", 10.0, validation=True),
        record("a", 10.0, validation=True, mirrored=True),
        record("a", -30.0, kept=False),
        record("b", 5.0),
    ]
    first, second = report_page.sources(records)
    assert first == report_page.Source("a", 2, 1, 1, 1, -10.0, -30.0, 10.0, 10)
    assert (second.name, second.drives, second.twins) == ("b", 1, 0)
