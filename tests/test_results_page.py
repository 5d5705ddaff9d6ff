"""docs/results.md is what bench/results_page.py writes from the files in git."""

import math
import re

import numpy as np
import pytest

from bench import results_page, runs, tables
from wm.runtime import files


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(runs.ROOT)


def test_the_committed_page_is_the_command_s():
    committed = results_page.PAGE.read_text(encoding="utf-8")
    assert committed == results_page.page(), "run `uv run python -m bench.results_page`"


def test_a_cell_holds_one_number():
    lines = results_page.page().splitlines()
    cells = [cell.strip() for line in lines if line.startswith("|") for cell in line.strip("|").split("|")]
    assert [cell for cell in cells if re.search(r"±|\d ?/ ?\d", cell)] == []


def test_the_published_run_s_rows_are_those_of_its_metrics():
    """docs/runs.csv and metrics/ are two records of the same run."""
    for row in results_page.published_run():
        explored, dreamt = (results_page.scores(row["round"], name) for name in ("explore", "dream"))
        real = files.read_json(runs.METRICS / "real.json") if row["published"] else explored
        for world, score in (("real", real["score"]), ("dream", dreamt["score"])):
            assert float(row[f"{world}_mean"]) == score["mean"]
            assert float(row[f"{world}_std"]) == score["std"]


def test_pooled_scores_are_those_of_all_drives_together():
    rng = np.random.default_rng(0)
    sets = [rng.normal(900, 30, 50), rng.normal(800, 100, 150)]
    rows = [
        {
            "tracks": str(len(drives)),
            "real_mean": str(drives.mean()),
            "real_std": str(drives.std()),
            "laps": "3",
            "below_600": "1",
        }
        for drives in sets
    ]
    pool, drives = results_page.pooled(rows), np.concatenate(sets)
    assert (pool.tracks, pool.laps, pool.below_600) == (200, 6, 2)
    assert math.isclose(pool.mean, drives.mean())
    assert math.isclose(pool.std, drives.std())
    assert math.isclose(pool.sem, drives.std() / math.sqrt(200))


def test_every_row_of_the_data_names_its_source():
    for name in ("fresh_tracks", "evolutions", "ranks", "sampled_latents", "encoder_noise", "reported"):
        rows = tables.rows(runs.ROOT / "docs" / "experiments" / "data" / f"{name}.csv")
        assert all(row["source"] and row["commit"] for row in rows)
