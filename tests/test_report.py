"""The report: one file that needs no other, escaped values, any number of rounds, an honest first screen."""

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.container import ErrorbarContainer

from wm.agent import summary
from wm.data.episode import Record
from wm.params import profiles
from wm.report import charts
from wm.report.content import ChosenResults, Content, RoundResults, Source, of_source, score_rows
from wm.report.page import LEAST_SIZES, flat, gap_figure, page, score_gap, too_small
from wm.report.poster import poster
from wm.report.summary import summary as summary_files
from wm.report.summary import write as write_summary
from wm.runtime import files
from wm.runtime.results import DriveSummary, Explored

HOSTILE = '"><script>alert(1)</script>&'
PARAMS = {
    "train_vae": {"latent_size": 32, "steps": 2800},
    "train_rnn": {"first_round_steps": 2400},
    "evolve": {"search": {"generations": 200}},
    "evaluate": {"episodes": 100},
    "odd": {"deep": {HOSTILE: HOSTILE}},
}


def measured(mean, spread, n=4):
    scores = mean + spread * np.linspace(-1, 1, n)
    none, laps = np.zeros(n), np.arange(n) < 1
    return DriveSummary.model_validate(summary.of_drives(scores, np.full(n, 900), laps, none + 2, none))


def a_round(name, dream=800.0, real=700.0, spread=10.0):
    rng, steps = np.random.default_rng(0), range(1, 6)
    losses = ("train_loss", "loss", "simulator_0_train_loss", "simulator_0_loss")
    return RoundResults(
        name=name,
        dream=measured(dream, spread),
        real=Explored.model_validate(measured(real, spread).model_dump() | {"tracks": "exploring"}),
        train_rnn=[{"step": str(n)} | {key: str(rng.normal()) for key in losses} for n in steps],
        evolve=[{"number": str(n), "mean_fitness": str(n), "sigma": "0.3"} for n in steps],
    )


def a_choice(results):
    """A round whose evaluation scored what its exploring drives did."""
    rng, steps = np.random.default_rng(0), range(1, 6)
    promises = ("dream_reward", "real_reward", "dream_winning", "real_winning", "real_on_road")
    compared = [
        (quantity, name) for quantity in charts.CLOSED_LOOP for name in ("dream", "real", "difference")
    ]
    return ChosenResults(
        name=results.name,
        dream=results.dream,
        real=results.real,
        tracks=[{"score": str(results.real.score.mean + n), "lap_finished": str(n > 3)} for n in steps],
        drift={f"{kind}_{n}": 0.1 * n for kind in ("latent", "reward") for n in (5, 20)},
        exploitation=[{"steps": str(n)} | {key: str(rng.random()) for key in promises} for n in steps],
        closed_loop=[
            {
                "seconds": str(n),
                "quantity": quantity,
                "series": name,
                "mean": "0.5",
                "low": "0.4",
                "high": "0.7",
            }
            for n in steps
            for quantity, name in [*compared, ("speed", "game"), ("auc", "level"), ("auc", "change")]
        ],
        probes={"speed": 0.97, "curvature": 0.5, "grass": 0.3},
        train_rnn=results.train_rnn,
    )


def record(source="a", score=1.0, **changes):
    one = Record(0, 7, source, 10, score=score, warm_up_reward=0.5, lap_finished=False)
    return replace(one, **changes)


def content(*rounds, **changes):
    vae = [
        {"step": str(n), "train_loss": "3", "loss": "2", "squared_error": "1", "kl": "1"} for n in range(3)
    ]
    ranked = [
        {"round": one.name, "dream": str(9 * n), "real": str(8 * n)} for one in rounds for n in range(3)
    ]
    return Content(
        rounds=rounds,
        chosen=a_choice(rounds[-1]),
        train_vae=vae,
        active_dimensions=24,
        ranked=ranked,
        rank_correlation=0.8857,
        sources=[of_source(name, [record(name)], [record(name)]) for name in ("a", HOSTILE)],
        rounds_figure=charts.rounds(score_rows(rounds), ranked),
        strip=b"strip",
        film=bytes(range(256)),
        reconstructions=b"reconstructions",
        params=PARAMS,
        versions={"numpy": HOSTILE},
    )._replace(**changes)


@pytest.fixture(scope="module")
def document():
    return page(content(a_round(HOSTILE), a_round("r1", dream=712.0, real=724.0)))


@pytest.fixture
def without_charts(monkeypatch):
    """Leaves out the charts, which take a second a page, in tests that read the words alone."""
    monkeypatch.setattr(charts, "rounds", lambda *_: b"")
    drawn = ("score_histogram", "vae_loss", "rnn_loss", "evolution", "drift", "exploitation", "closed_loop")
    for name in drawn:
        monkeypatch.setattr(charts, name, lambda *_: [])


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


def text(document):
    """The words of a page with single spaces between them."""
    return " ".join("".join(Reader(document).words).split())


def test_the_page_needs_no_other_file_and_runs_nothing(document):
    seen = Reader(document)
    assert not seen.open
    assert "script" not in seen.tags
    assert "link" not in seen.tags
    assert all(address.startswith(("data:", "#")) for address in seen.addresses)
    assert not re.search(r"url\(|@import|https?://", re.sub(r'src="[^"]*"', "", document))


def test_every_link_leads_to_a_section(document):
    links = {address[1:] for address in Reader(document).addresses if address.startswith("#")}
    assert links == set(re.findall(r'<section id="([^"]*)"', document))


def test_hostile_names_and_values_are_shown_as_text(document):
    assert document.count(HOSTILE) == 0
    assert sum(HOSTILE in words for words in Reader(document).words) >= 4  # round, source, parameter, version


def test_charts_are_complete_and_the_film_is_the_rounds_film(document):
    drawings = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', document)
    assert len(drawings) == 16  # four figures of two charts, two of one, one of six
    for drawing in drawings:
        assert ET.fromstring(base64.b64decode(drawing)).tag == "{http://www.w3.org/2000/svg}svg"
    film = re.findall(r'src="data:video/webm;base64,([^"]*)"', document)
    assert [base64.b64decode(one) for one in film] == [bytes(range(256))]


def test_the_figure_of_the_rounds_is_the_file_of_that_name(document):
    shown = content(a_round(HOSTILE), a_round("r1", dream=712.0, real=724.0)).rounds_figure
    assert shown.startswith(b"\x89PNG")
    assert f"data:image/png;base64,{base64.b64encode(shown).decode()}" in document


def closed_loop_row(series, seconds, mean):
    row = {"seconds": str(seconds), "quantity": "grass", "series": series, "mean": str(mean)}
    return row | {"low": str(mean - 0.05), "high": str(mean + 0.1)}


def test_a_panel_shows_reality_as_a_band_and_the_dream_with_its_interval():
    places = [(0.2, 0.1), (0.6, 0.3)]
    rows = [closed_loop_row(name, *place) for name in ("dream", "real", "difference") for place in places]
    rows[0]["mean"], rows[1]["mean"] = "0.125", "0.35"
    axes = charts.closed_loop_panel(rows, "grass")
    (band,) = [each for each in axes.collections if isinstance(each, FillBetweenPolyCollection)]
    corners = {(round(x, 6), round(y, 6)) for x, y in np.asarray(band.get_paths()[0].vertices)}
    assert corners == {(0.2, 5.0), (0.2, 20.0), (0.6, 25.0), (0.6, 40.0)}  # per cent
    (bars,) = axes.containers
    assert isinstance(bars, ErrorbarContainer)
    assert np.asarray(bars.lines[0].get_xydata()).round(6).tolist() == [[0.2, 12.5], [0.6, 35.0]]
    ends = [segment[:, 1].round(6).tolist() for segment in bars.lines[2][0].get_segments()]
    assert ends == [[5.0, 20.0], [25.0, 40.0]]


def test_the_same_results_give_the_same_bytes(document):
    assert document == page(content(a_round(HOSTILE), a_round("r1", dream=712.0, real=724.0)))


def test_a_report_of_one_round_is_complete():
    words = text(page(content(a_round("r0"))))
    assert "The agent of round r0, selected by its scores in dreams, scores 700 points on average" in words


@pytest.mark.usefixtures("without_charts")
def test_the_first_screen_shows_the_chosen_round():
    document = page(content(a_round("r0"), a_round("r1", 712.0, 724.0)))
    figures = re.findall(r'<div class="card"><b>([^<]*)</b>', document)
    sem = summary.of_scores(724 + 10 * np.linspace(-1, 1, 4))["sem"]
    assert figures == [
        f"724 ± {1.96 * sem:.0f}",
        f"712 ± {1.96 * sem:.0f}",
        "\N{MINUS SIGN}1.7\N{NO-BREAK SPACE}%",
        "0.89",
    ]


@pytest.mark.usefixtures("without_charts")
@pytest.mark.parametrize(("real", "answer"), [(900.0, "Yes."), (899.0, "In part."), (599.0, "No.")])
def test_an_agent_drives_that_solves_the_task(real, answer):
    assert f"Does it drive? {answer}" in text(page(content(a_round("r0", real=real))))


@pytest.mark.usefixtures("without_charts")
@pytest.mark.parametrize(
    ("dream", "real", "answer", "reason"),
    [
        (702.0, 700.0, "Yes, on average.", "2 points more than on real tracks"),
        (702.0, 700.0, "Yes, on average.", "so chance can explain it"),
        (700.4, 700.0, "Yes, on average.", "700 points on average: as many as on real tracks"),
        (650.0, 700.0, "Nearly.", "50 points less than on real tracks"),
        (800.0, 700.0, "No.", "so chance does not explain it"),
        (951.0, 950.0, "No.", "No real drive can score so high"),
    ],
)
def test_the_gap_decides_whether_the_dream_predicted_the_real_score(dream, real, answer, reason):
    words = text(page(content(a_round("r0", dream=dream, real=real))))
    assert f"Does the dream predict the real score? {answer}" in words
    assert reason in words


@pytest.mark.usefixtures("without_charts")
def test_drives_below_600_are_on_the_first_screen_where_they_are_known():
    results = a_round("r0")
    known = results._replace(
        dream=results.dream.model_copy(update={"below_600": 3}),
        real=results.real.model_copy(update={"below_600": 0}),
    )
    unknown = results._replace(dream=results.dream.model_copy(update={"below_600": None}))
    sentence = "3 of 4 dreams and none of 4 real drives score below 600 points."
    assert sentence in text(page(content(known)))
    assert "score below 600" not in text(page(content(unknown)))


def test_the_interval_of_the_gap_is_that_of_two_independent_means():
    gap, error = score_gap(a_round("r0", dream=800.0, real=700.0))
    sem = np.std(10 * np.linspace(-1, 1, 4), ddof=1) / 2
    assert gap == pytest.approx(100)
    assert error == pytest.approx(1.96 * np.sqrt(2) * sem, abs=0.01)


def test_a_gap_is_no_share_of_a_score_below_zero():
    assert gap_figure(a_choice(a_round("r0", dream=-20.0, real=-50.0))) == "+30 points"


WARNING = "The numbers of this profile mean nothing: it only tests that the pipeline runs."


@pytest.mark.usefixtures("without_charts")
@pytest.mark.parametrize("profile", [path.stem for path in sorted(profiles.PROFILES.glob("*.yaml"))])
def test_the_report_of_the_smoke_profile_alone_says_that_its_numbers_mean_nothing(profile):
    document = page(content(a_round("r0"), params=profiles.content(profile)))
    first_screen = text(document[: document.index("<dl>")])
    assert (WARNING in first_screen) == (profile == "smoke")
    assert ("evaluate.episodes is 4, less than 20" in first_screen) == (profile == "smoke")


def test_the_least_trainings_are_a_tenth_of_the_default_profile():
    default = dict(flat(profiles.content("default")))
    tenths = {name: default[name] // 10 for name in LEAST_SIZES if name != "evaluate.episodes"}
    assert tenths | {"evaluate.episodes": 20} == LEAST_SIZES


def test_one_size_is_enough_to_make_a_run_too_small():
    enough = dict(LEAST_SIZES)
    assert too_small(enough) == []
    for name, least in LEAST_SIZES.items():
        assert too_small(enough | {name: least - 1}) == [f"{name} is {least - 1}, less than {least}"]


@pytest.mark.usefixtures("without_charts")
@pytest.mark.parametrize(("dimensions", "warned"), [(0, True), (1, False)])
def test_a_v_without_a_dimension_in_use_has_learnt_nothing(dimensions, warned):
    document = page(content(a_round("r0"), active_dimensions=dimensions))
    first_screen = text(document[: document.index("<dl>")])
    assert ("V has learnt nothing: 0 of its 32 latent dimensions are in use" in first_screen) == warned


@pytest.mark.usefixtures("without_charts")
@pytest.mark.parametrize(
    ("dream", "real", "where"),
    [
        (9.0, 9.0, "in dreams and on real tracks"),
        (9.0, 20.0, "in dreams"),
        (20.0, 0.0, "on real tracks"),
        (20.0, 20.0, ""),
    ],
)
def test_equal_controllers_have_no_rank_correlation(dream, real, where):
    ranked = [{"round": "r0", "dream": str(dream * n), "real": str(real * n)} for n in range(2)]
    document = page(content(a_round("r0"))._replace(ranked=ranked))
    first_screen = text(document[: document.index("<dl>")])
    assert (f"all 2 controllers score the same {where} (" in first_screen) == bool(where)
    assert ("The rank correlation says nothing" in first_screen) == bool(where)
    assert re.findall(r'<div class="card"><b>([^<]*)</b>', document)[3] == ("none" if where else "0.89")


@pytest.mark.parametrize(
    ("scores", "edges"),
    [
        ([-30.0], [-30, -20]),
        ([700.0, 720.0, 731.0], [700, 710, 720, 730, 740]),
        ([-50.0, 900.0], [-250, 0, 250, 500, 750, 1000]),
        (np.linspace(735, 965, 100), np.arange(730, 971, 10)),
    ],
)
def test_bins_are_round_and_few_for_few_drives(scores, edges):
    assert charts.bin_edges(np.array(scores)) == list(edges)


def drawn_axes(monkeypatch, chart, argument):
    """The axes of a figure's charts."""
    drawn = []
    monkeypatch.setattr(charts, "svg", lambda axes: drawn.append(axes) or b"")
    chart(argument)
    return drawn


@pytest.mark.parametrize("chart", [charts.rnn_loss, charts.evolution])
def test_whole_numbers_have_no_ticks_between_them(monkeypatch, chart):
    results = a_round("r0")
    rows = (results.train_rnn if chart is charts.rnn_loss else results.evolve)[:2]
    for axes in drawn_axes(monkeypatch, chart, {"r0": rows}):
        assert all(tick == round(tick) for tick in axes.get_xticks())


def test_the_curves_of_a_round_end_with_the_round(monkeypatch):
    rounds = {name: a_round(name).train_rnn for name in ("r0", "r1")}
    (axes,) = drawn_axes(monkeypatch, charts.rnn_loss, rounds)
    curves = [line.get_xdata() for line in axes.lines if line.get_label()[0] != "_"]
    assert len(curves) == 6  # of each round: training, validation, simulator
    assert all(len(steps) == 5 for steps in curves)
    assert {(min(steps), max(steps)) for steps in curves} == {(1, 5), (6, 10)}


def test_the_poster_is_the_third_moment_of_the_strip():
    moments = [np.full((9, 12, 3), 40 * n, np.uint8) for n in range(6)]
    strip = np.concatenate([np.concatenate(moments[:3]), np.concatenate(moments[3:])], axis=1)
    encoded = cv2.imencode(".png", strip)[1].tobytes()
    picture = cv2.imdecode(np.frombuffer(poster(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (9, 12, 3)
    assert np.abs(picture.astype(int) - 80).max() < 4
    assert poster(b"") == poster(b"no picture") == b""


def test_a_damaged_strip_has_no_poster_and_no_message(capfd):
    encoded = cv2.imencode(".png", np.arange(5400, dtype=np.uint8).reshape(60, 30, 3))[1].tobytes()
    middle = len(encoded) // 2
    for damaged in (encoded[:-30], encoded[:middle] + bytes(9) + encoded[middle + 9 :]):
        assert poster(damaged) == b""
    assert capfd.readouterr().err == ""


def test_the_film_has_a_poster_where_the_strip_is_a_picture(document):
    strip = cv2.imencode(".png", np.zeros((6, 4, 3), np.uint8))[1].tobytes()
    assert "poster=" not in document
    assert 'poster="data:image/jpeg;base64,' in page(content(a_round("r0"), strip=strip))


def test_drives_are_counted_by_source_and_without_mirrored_copies():
    used = [record("a", 10.0, validation=True), record("a", 10.0, validation=True, mirrored=True)]
    drives = [record("a", 10.0), record("a", -30.0)]
    assert of_source("a", drives, used) == Source("a", 2, 1, 1, 1, -10.0, -30.0, 10.0, 10)
    assert of_source("b", drives[:1], used[:1]).mirrored == 0


def test_the_real_score_is_that_of_the_evaluation_and_a_round_s_that_of_its_exploring_drives():
    round_ = a_round("r0", real=700.0)
    found = content(round_, chosen=a_choice(round_)._replace(real=measured(650.0, 10.0, n=5)))
    written = summary_files(found)
    assert written["score"]["real"] == 650.0
    assert written["round_r0"]["in_reality"] == 700.0
    words = text(page(found))
    assert "scores 650 points on average on 5 real tracks that no other stage uses" in words
    assert "those of its agent without action noise on 4 exploring tracks" in words


def test_the_summary_holds_the_scores_of_the_chosen_round_and_the_means_of_all():
    written = summary_files(content(a_round("r0"), a_round("r1", dream=712.0, real=724.0)))
    score = {"dream": 712.0, "real": 724.0, "gap": -12.0, "gap_percent": -1.66, "rank_correlation": 0.8857}
    assert written["score"] == score | {"impossible_dreams": 0}
    assert written["median"]["in_reality"] == 724.0
    assert written["laps"]["in_reality"] == 1
    assert written["lap_frames"]["in_reality"] == 900.0
    assert written["std"]["in_reality"] == summary.of_scores(724 + 10 * np.linspace(-1, 1, 4))["std"]
    assert written["round_r0"] == {"in_dream": 800.0, "in_reality": 700.0}
    assert written["round_r1"] == {"in_dream": 712.0, "in_reality": 724.0}


def test_the_summary_is_flat_and_has_at_most_forty_numbers_for_seven_rounds():
    written = summary_files(content(*(a_round(f"r{number}") for number in range(7))))
    assert sum(len(values) for values in written.values()) <= 40
    assert all(isinstance(value, (int, float)) for values in written.values() for value in values.values())


def test_the_headline_names_occur_in_one_file_alone():
    written = summary_files(content(a_round("r0"), a_round("r1")))
    others = {name for file, values in written.items() if file != "score" for name in values}
    assert not others & written["score"].keys()


def test_the_summary_leaves_out_what_is_not_known():
    no_lap = Explored.model_validate(a_round("r0").real.model_dump() | {"laps": 0, "lap_frames": None})
    written = summary_files(content(a_round("r0")._replace(real=no_lap)))
    assert "in_reality" not in written["lap_frames"]
    assert written["laps"]["in_reality"] == 0


def test_the_summary_has_the_last_losses_and_the_mean_of_the_simulators():
    rows = [{"step": "1", "loss": "9"}, {"step": "2", "loss": "5", "train_loss": "7"}]
    rows[-1] |= {f"simulator_{i}_{kind}": str(i + 1) for i in range(2) for kind in ("loss", "train_loss")}
    rows[-1] |= {"simulator_0_train_loss": "100"}
    written = summary_files(content(a_round("r0")._replace(train_rnn=rows)))
    losses = [written[f"loss_{model}"]["loss"] for model in ("vae", "rnn", "simulator")]
    assert losses == [2.0, 5.0, 1.5]


def test_the_summary_counts_the_rounds_whose_dreams_no_real_drive_could_match():
    rounds = [a_round("r0", dream=951.0), a_round("r1", dream=949.0), a_round("r2", dream=1200.0)]
    assert summary_files(content(*rounds))["score"]["impossible_dreams"] == 2


def test_a_summary_replaces_the_previous_one(tmp_path):
    write_summary(tmp_path / "summary", content(a_round("r0"), a_round("r1")))
    write_summary(tmp_path / "summary", content(a_round("r0")))
    assert not (tmp_path / "summary" / "round_r1.json").exists()
    assert files.read_json(tmp_path / "summary" / "round_r0.json") == {"in_dream": 800.0, "in_reality": 700.0}


def test_the_table_of_rounds_numbers_them():
    rows = score_rows([a_round("first"), a_round("r1", dream=712.0, real=724.0)])
    assert [(row["number"], row["round"], row["dream"], row["real"]) for row in rows] == [
        (0, "first", 800.0, 700.0),
        (1, "r1", 712.0, 724.0),
    ]
