import json

import numpy as np
import pytest

from wm.data.episode import Episode, Record
from wm.data.shards import Writer
from wm.params import profiles
from wm.params.check import check
from wm.params.evolve import Evolve
from wm.report import model_card
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
    (tmp_path / "r1").mkdir()
    for world in ("dream", "real"):
        (tmp_path / "r1" / f"{world}.json").write_text(json.dumps({"score": score} | drives))
    monkeypatch.setattr(model_card, "ROUND_METRICS", tmp_path)
    text = model_card.model_card(check(profiles.content("default")), "r1")
    assert "seeds 900000 to 900006 | 812.3 | 55.5 | 800.0 | \N{MINUS SIGN}1.0 | 930.0 | 7 | 3 |" in text
    assert "| real drives collected for V and M | 2 |" in text
    assert "| real frames of these drives | 1,070 |" in text
    assert "Round r1, after r0." in text


def test_a_round_has_the_dream_steps_of_all_its_searches():
    size = {"generations": 10, "population": 4}
    changes = {
        "from_scratch_rounds": 1,
        "search": size,
        "refine": size | {"generations": 5},
        "off_track_share": {"search": [0.5], "refine": [0.1, 0.5]},
        "rollouts": 3,
        "horizon_steps": 2,
    }
    evolve = Evolve.model_validate(profiles.merged(profiles.content("default")["evolve"], changes))
    assert [model_card.dream_steps(number, evolve) for number in (0, 1)] == [
        10 * 4 * 3 * 2,
        2 * 5 * 4 * 3 * 2,
    ]
