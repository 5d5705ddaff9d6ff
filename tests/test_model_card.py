import numpy as np
import pytest

from wm.data.episode import Episode, Record
from wm.data.shards import Writer
from wm.report import model_card
from wm.report.model_card import Origin
from wm.runtime import files
from wm.spec import Timing


def drive(seed, steps, mirrored=False):
    record = Record(0, seed, "a", steps, score=1.0, warm_up_reward=0.5, lap_finished=False, mirrored=mirrored)
    zeros = np.zeros(steps, np.float32)
    latents = {"mu": np.zeros((steps, 4), np.float32)}
    ends = np.zeros(steps, bool)
    return Episode(
        record, latents, np.zeros((steps, 3), np.float32), zeros, ends.astype(np.int16), ends, ends
    )


@pytest.fixture
def latents(tmp_path, monkeypatch):
    monkeypatch.setattr(model_card, "LATENTS", tmp_path)
    writer = Writer(tmp_path / "r0", "r0")
    for episode in (drive(1, 10), drive(1, 10, mirrored=True), drive(2, 475)):
        writer.write(episode)
    writer.finish()
    return tmp_path


def test_a_mirrored_drive_is_no_second_one_and_no_episode_has_more_than_1000_frames(latents):
    assert model_card.real_data("r0", Timing(action_repeat=4, warm_up_frames=50)) == (2, 50 + 40 + 1000)


def test_the_card_has_the_measured_scores(latents, tmp_path, monkeypatch):
    score = {"mean": 812.34, "std": 55.5, "median": 800.0, "min": -1.0, "max": 930.0, "n": 7, "sem": 21.0}
    drives = {"laps": 3, "lap_frames": 700.5, "missed": 0.5, "failures": 0.0}
    metrics = tmp_path / "metrics"
    for path in ("rounds/r1/dream.json", "real.json"):
        files.write_json(metrics / path, {"score": score} | drives)
    files.write_json(metrics / "ranks.json", {"chosen": "r1"})
    monkeypatch.chdir(tmp_path)
    text = model_card.model_card(Origin(["r0", "r1"], Timing(2, 50), [1000, 2000], 900_000))
    assert "seeds 900000 to 900006 | 812.3 | 55.5 | 800.0 | \N{MINUS SIGN}1.0 | 930.0 | 7 | 3 |" in text
    assert "| real drives kept for V and M | 2 |" in text
    assert "| real frames of these drives | 1,070 |" in text
    assert "| dream steps of C's evolution, this round | 2,000 |" in text
    assert "| dream steps of C's evolution, all rounds | 3,000 |" in text
    assert "held for 2 frames. The agent drives from frame 50." in text
    assert "Round r1, after r0." in text


def test_the_card_of_another_round_has_the_scores_of_its_exploring_drives(tmp_path, monkeypatch):
    files.write_json(tmp_path / "metrics/ranks.json", {"chosen": "r1"})
    monkeypatch.chdir(tmp_path)
    paths = model_card.score_files("r0")
    assert [str(path) for path in paths.values()] == [
        "metrics/rounds/r0/dream.json",
        "metrics/rounds/r0/explore.json",
    ]
    assert model_card.tracks(Origin(["r0"], Timing(2, 50), [1000], 900_000), 40) == "exploring tracks"
