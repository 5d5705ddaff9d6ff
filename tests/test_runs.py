"""bench/runs.py copies each round's metrics into docs/runs.csv."""

import json
import shutil

import pytest

from bench import fresh_tracks, runs, tables
from wm.errors import BadInput
from wm.runtime.stage_log import Note

SCORE = {"mean": 700.5, "std": 100.0, "sem": 50.0, "min": 550.0, "median": 700.0, "max": 901.0, "n": 3}


def write_round(folder):
    """The metrics of one round: 3 real drives, one of them below 600."""
    folder.mkdir(parents=True)
    losses = {"nll": 32.5, "reward_error": 1.0, "missed_error": 0.1}
    dream = {
        "score": SCORE | {"mean": 650.0},
        "laps": 2,
        "lap_frames": 640.0,
        "rules": {"sampling": "denoised"},
    }
    real = {"score": SCORE, "laps": 1, "lap_frames": 700.0, "missed": 0.5}
    for name, content in {"train_rnn": {"rnn": losses}, "dream": dream, "explore": real}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "explore.csv").write_text("seed,score\n1,550\n2,650.5\n3,901\n")


@pytest.fixture
def metrics(tmp_path):
    for name in ("r0", "r1", "r2", "r3", "r4"):
        write_round(tmp_path / "rounds" / name)
    (tmp_path / "ranks.json").write_text('{"chosen": "r4"}')
    for ending in ("json", "csv"):
        shutil.copy(tmp_path / f"rounds/r4/explore.{ending}", tmp_path / f"real.{ending}")
    evaluation = json.loads((tmp_path / "real.json").read_text()) | {"laps": 3}
    (tmp_path / "real.json").write_text(json.dumps(evaluation))
    return tmp_path


def test_a_row_holds_its_round_s_scores(metrics):
    row = runs.rows(metrics, {"run": "a", "seed": "1", "commit": "abc"})[0]
    assert list(row) == runs.COLUMNS
    expected = {
        "run": "a",
        "round": "r0",
        "action_repeat": 2,
        "nll": 32.5,
        "dream_mean": 650.0,
        "dream_sampling": "denoised",
        "real_mean": 700.5,
        "tracks": 3,
        "below_600": 1,
        "commit": "abc",
    }
    assert {key: row[key] for key in expected} == expected


def test_the_chosen_round_has_the_scores_of_its_evaluation(metrics):
    assert [row["laps"] for row in runs.rows(metrics, {"run": "a"})] == [1, 1, 1, 1, 3]


def test_only_the_chosen_round_is_published(metrics):
    rows = runs.rows(metrics, {"run": "a"})
    assert [row["round"] for row in rows if row["published"]] == ["r4"]


WHOLE = {"collect@a": Note(100.0, 1, 50.0), "explore@r0": Note(155.0, 1, 65.0), "rank": Note(900.0, 1, 9.0)}


@pytest.mark.parametrize(
    ("changed", "minutes"),
    [
        ({}, "2.0"),
        ({"collect@a": Note(100.0, 1, 50.0, whole=False)}, ""),  # interrupted
        ({"explore@r0": Note(155.0, 1)}, ""),  # still running
        ({"collect@a": Note(10.0, 1, 50.0)}, ""),  # run before
    ],
)
def test_minutes_are_those_of_one_run(metrics, monkeypatch, changed, minutes):
    monkeypatch.setattr(runs.stage_log, "notes", lambda: WHOLE | changed)
    assert [row["minutes"] for row in runs.rows(metrics, {"run": "a"})][:2] == [minutes, ""]


def test_a_run_is_appended_once(metrics, tmp_path, monkeypatch):
    table = tmp_path / "runs.csv"
    monkeypatch.setattr(runs, "METRICS", metrics)
    monkeypatch.setattr("sys.argv", ["bench.runs", "a", "--table", str(table)])
    runs.main()
    assert len(tables.rows(table)) == 5
    with pytest.raises(BadInput, match="found rows of run 'a' with seed 1"):
        runs.main()
    assert len(tables.rows(table)) == 5


def test_the_committed_table_has_one_row_per_run_seed_and_round():
    rows = tables.rows(runs.RUNS)
    keys = [(row["run"], row["seed"], row["round"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert all(list(row) == runs.COLUMNS for row in rows)
    assert all(float(row["real_mean"]) <= 1000 and row["commit"] and row["source"] for row in rows)


def test_tracks_of_the_table_are_no_longer_fresh():
    fresh_tracks.expect_fresh(range(28_999_000, 28_999_100))
    with pytest.raises(BadInput, match="found tracks 26000000 to 26000499"):
        fresh_tracks.expect_fresh(range(26_000_499, 26_000_500))
