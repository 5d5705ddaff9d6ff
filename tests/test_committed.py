"""The committed metrics agree with each other."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.chaos import run
from wm.agent import summary
from wm.fidelity import ranking
from wm.params import file
from wm.pipeline import dag, lock, records
from wm.report import summary as report_summary
from wm.report.content import from_metrics, score_rows
from wm.runtime import files

ROOT = Path(__file__).parents[1]


def rows(path):
    with path.open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


RANKED = rows(ROOT / "metrics/ranks.csv")


def test_the_summary_follows_from_the_files_of_the_rounds(monkeypatch):
    monkeypatch.chdir(ROOT)
    content = from_metrics(list(file.load().rounds), {})
    expected = report_summary.summary(content)
    written = {path.stem: files.read_json(path) for path in (ROOT / "metrics/summary").glob("*.json")}
    assert written == expected
    table = [{name: str(value) for name, value in row.items()} for row in score_rows(content.rounds)]
    assert rows(ROOT / "metrics/rounds.csv") == table


def test_the_published_dreams_are_those_of_the_score():
    folder = ROOT / "metrics/rounds" / files.read_json(ROOT / "metrics/ranks.json")["chosen"]
    recorded = files.read_json(folder / "dream.json")
    scores = np.array([float(row["score"]) for row in rows(folder / "dream.csv")])
    for name, value in summary.of_scores(scores).items():
        assert recorded["score"][name] == pytest.approx(value, abs=0.011)
    assert recorded["below_600"] == (scores < 600).sum()


def test_the_chosen_round_follows_from_the_ranking():
    ranked = [{**row, **{name: float(row[name]) for name in row if name != "round"}} for row in RANKED]
    assert ranking.chosen(ranked) == files.read_json(ROOT / "metrics/ranks.json")["chosen"]


@pytest.mark.parametrize("final", RANKED, ids=lambda row: row["round"])
def test_a_final_controller_has_one_score_in_the_same_dreams(final):
    """The last snapshot of a round is its final controller, ranked by `rank` and compared by `fidelity`."""
    compared = rows(ROOT / "metrics/controllers.csv")
    snapshots = [
        row for row in compared if row["round"] == final["round"] and "snapshot" in row["controller"]
    ]
    assert final == {name: snapshots[-1][name] for name in final}


def test_the_rank_correlation_follows_from_the_controllers():
    table = [
        {name: float(row[name]) for name in ("dream", "dream_mean", "real")}
        for row in rows(ROOT / "metrics/controllers.csv")
    ]
    recorded = files.read_json(ROOT / "metrics/fidelity.json")
    assert ranking.agreement(table).items() <= recorded.items()


def test_the_lock_records_no_stage_that_is_gone(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = records.LOCK.read_text(encoding="utf-8")
    assert lock.pruned(text, dag.stages(file.read())) == text


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A clone of the last commit, without the files that only DVC's cache has."""
    folder = tmp_path_factory.mktemp("clone") / "wm"
    run(ROOT, "git", "clone", "--quiet", str(ROOT), str(folder))
    return folder


def test_the_difference_of_all_metrics_is_a_short_table(checkout):
    shown = run(checkout, sys.executable, "-m", "dvc", "metrics", "diff", "--all", "HEAD").splitlines()
    assert 20 < len(shown) <= 40
    assert max(map(len, shown)) <= 100


def test_a_clone_has_the_data_of_every_plot(checkout):
    shown = run(checkout, sys.executable, "-m", "dvc", "plots", "show")
    assert "dvc_plots/index.html" in shown
    assert "failed" not in shown
    page = (checkout / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert page.count('"fold": ["dream_reward", "real_reward"]') == 1
