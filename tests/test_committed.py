"""The committed metrics agree with each other."""

import csv
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bench.chaos import run
from wm.agent import summary
from wm.params import file
from wm.report import summary as report_summary
from wm.report.content import from_metrics, score_rows
from wm.runtime import files

ROOT = Path(__file__).parents[1]


def rows(path):
    with path.open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def test_the_summary_follows_from_the_files_of_the_rounds(monkeypatch):
    monkeypatch.chdir(ROOT)
    content = from_metrics(list(file.load().rounds), {})
    expected = report_summary.summary(content)
    written = {path.stem: files.read_json(path) for path in (ROOT / "metrics/summary").glob("*.json")}
    assert written == expected
    table = [{name: str(value) for name, value in row.items()} for row in score_rows(content.rounds)]
    assert rows(ROOT / "metrics/rounds.csv") == table


def test_the_published_dreams_are_those_of_the_score():
    folder = ROOT / "metrics/rounds/r6"
    recorded = files.read_json(folder / "dream.json")
    scores = np.array([float(row["score"]) for row in rows(folder / "dream.csv")])
    for name, value in summary.of_scores(scores).items():
        assert recorded["score"][name] == pytest.approx(value, abs=0.011)
    assert recorded["below_600"] == (scores < 600).sum() == 1


@pytest.mark.parametrize("number", range(7))
def test_the_ranked_controllers_scores_are_those_of_the_ranking(number):
    ranked = files.read_json(ROOT / f"metrics/rounds/r{number}/ranked.json")["real"]
    table = [row for row in rows(ROOT / "metrics/ranks.csv") if row["round"] == f"r{number}"]
    assert {row["controller"]: float(row["real"]) for row in table} == ranked


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
    rounds = list((checkout / "metrics/rounds").glob("*/exploitation.csv"))
    assert page.count('"fold": ["dream_reward", "real_reward"]') == len(rounds) > 0


def test_the_wheel_holds_the_library_and_its_templates_alone(checkout):
    run(checkout, "uv", "build", "--quiet", "--wheel", "--out-dir", "wheel")
    (wheel,) = (checkout / "wheel").glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = run(checkout, "git", "ls-files", "wm").split()
    assert {"wm/report/report.html.j2", "wm/report/model_card.md.j2", "wm/cli.py"} <= names
    assert names == set(tracked)
