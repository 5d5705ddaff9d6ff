"""What evolution is told of a dream, and where its dreams start: stages/evolve.py."""

import json
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from stages import evolve
from wm.data.episode import Record
from wm.dream.dynamics import Outcome, Rules
from wm.errors import BadInput
from wm.models import controller
from wm.params import file
from wm.params.environment import Environment
from wm.runtime import model_file

RULES = Rules(temperature=1.0, stuck_steps=4, action_repeat=4)
IDLE = -0.4


@pytest.fixture(scope="module")
def settings():
    changes = {"horizon_steps": 20, "lap_steps": 200, "sampling": "sampled", "score_sampling": "denoised"}
    return file.section(evolve.Config, "evolve").model_copy(update=changes)


def test_no_more_is_paid_than_the_horizons_share_of_a_lap(settings):
    """5 tile points a step, 100 in 20 steps: won after 4 steps, and nothing counts from then on."""
    rewards = jnp.full(20, 25 + IDLE)
    found = evolve.within_lap(Outcome(rewards, jnp.ones(20), jnp.full(20, 0.1)), settings, RULES)
    assert found.reward.tolist() == rewards[:4].tolist() + [0] * 16
    assert found.missed.tolist() == [1] * 4 + [0] * 16
    assert found.failure[4:].tolist() == [0] * 16
    slow = Outcome(jnp.full(20, 4.0), jnp.zeros(20), jnp.zeros(20))
    assert evolve.within_lap(slow, settings, RULES).reward.tolist() == slow.reward.tolist()


def test_a_candidate_is_as_good_as_its_worst_dreams_beside_those_of_others():
    steady, rash, broken = [8.0, 2, 8, 2], [13.0, 2, 9, -2], [9.0, 2, np.inf, 2]
    worth = jnp.array([steady, rash, broken])
    assert evolve.conditional_value_at_risk(worth[:2], 1.0).tolist() == [5.0, 5.5]
    usual = np.mean([steady, rash], axis=0)  # 10.5, 2, 8.5, 0
    found = evolve.conditional_value_at_risk(worth, 0.5)
    assert found[:2].tolist() == [usual.mean() + (-2.5 - 0.5) / 2, usual.mean() + (-2 + 0) / 2]
    assert np.isnan(found[2])
    assert evolve.conditional_value_at_risk(worth[:2], 0.01).tolist() == [
        usual.mean() - 2.5,
        usual.mean() - 2,
    ]


def test_a_trouble_begins_where_the_tiles_end_for_forty_frames():
    drive = np.full(60, 3.0)
    drive[20:35] = drive[50:] = IDLE  # the last ten steps count, too
    drive[40:45] = IDLE  # a short one does not
    assert evolve.troubles(drive, 4).tolist() == [20, 50]
    assert evolve.troubles(drive, 3).tolist() == [20]  # thirteen steps; the last ten do not count then
    assert evolve.troubles(drive, 100).tolist() == [20, 40, 50]
    assert len(evolve.troubles(np.full(40, IDLE), 4)) == 0
    assert len(evolve.troubles(drive[:5], 4)) == 0


def test_dreams_start_anywhere_or_shortly_before_a_trouble():
    drive = np.full(200, 3.0)
    drive[100:] = IDLE
    times = evolve.anywhere(drive, 400, np.random.default_rng(0))
    assert times.min() < 20
    assert times.max() > 180
    times = evolve.before_troubles(drive, 400, np.random.default_rng(0), 4)
    assert (times.min(), times.max()) == (76, 97)
    times = evolve.before_troubles(drive, 400, np.random.default_rng(0), 3)
    assert (times.min(), times.max()) == (68, 96)
    early = np.array([3.0] * 5 + [IDLE] * 30)
    assert evolve.before_troubles(early, 400, np.random.default_rng(0), 4).min() == 0


class Drives:
    """Twenty drives, of which the last two had troubles, or none."""

    def __init__(self, troubled=2):
        self.records = [Record(i, i, "r0", 60, 0.0, 0.0, False) for i in range(20)]
        self.troubled = self.records[20 - troubled :]

    def kept(self, *, validation):
        return self.records

    def read(self, record):
        rewards = np.full(60, 3.0)
        rewards[30:] = IDLE if record in self.troubled else 3.0
        logvar = np.full((60, 2), [0.0, -2.0 if record.episode % 2 else -4.0], np.float32)
        return SimpleNamespace(rewards=rewards, observations={"logvar": logvar})


@pytest.mark.parametrize(("share", "smooth"), [(0.0, 40), (0.25, 30), (1.0, 0)])
def test_a_share_of_all_dreams_starts_in_drives_that_had_troubles(settings, share, smooth):
    chosen = settings.model_copy(update={"start_episodes": 40})
    shards: Any = Drives()
    drawn, found = evolve.start_drives(shards, chosen, share, ["r0"], 4)
    assert (len(drawn), found) == (40, smooth)
    assert all(record in shards.troubled for record in drawn[smooth:])
    assert smooth == 0 or len(set(map(str, drawn[:smooth]))) > 10


def test_the_encoders_variance_is_the_mean_over_training_drives(settings):
    chosen = settings.model_copy(update={"start_episodes": 2000})
    shards: Any = Drives()
    first, second = evolve.encoder_variance(shards, chosen, ["r0"])
    assert first == 1.0
    assert second == pytest.approx((np.exp(-2) + np.exp(-4)) / 2, abs=0.005)


def test_drives_without_troubles_are_dreamt_on_from_anywhere(settings):
    chosen = settings.model_copy(update={"start_episodes": 40})
    shards: Any = Drives(troubled=0)
    drawn, smooth = evolve.start_drives(shards, chosen, 1.0, ["r0"], 4)
    assert len(drawn) == smooth == 40


def test_more_components_than_features_are_refused(settings):
    with pytest.raises(BadInput, match=r"evolve\.components: found 64, wanted 5 at most"):
        evolve.check_components(settings, features=5)


@pytest.fixture
def searches(settings, monkeypatch, tmp_path):
    """Runs a round that goes on from a driver, with searches whose dreams have the given scores, and without
    the encoder's noise a hundred points more for a few troubles."""
    monkeypatch.setattr(evolve, "METRICS", tmp_path / "metrics")
    monkeypatch.setattr(evolve, "MODELS", tmp_path / "models")
    monkeypatch.setattr(evolve.config, "rounds_until", lambda prev: ["r0"])
    monkeypatch.setattr(evolve, "value_of_moments", lambda *given: None)
    monkeypatch.setattr(evolve, "start_pool", lambda *given: given[4])
    monkeypatch.setattr(evolve, "encoder_variance", lambda *given: (0.1,))

    def searched(worlds, *given):
        share, first = worlds[0].starts, controller.Controller(features=3)
        return [{"number": 0, "best": share}], [first, first.with_parameters(jnp.full(12, share))]

    monkeypatch.setattr(evolve, "searched", searched)

    def run(scores):
        def dream_score(worlds, model, best, shards, settings, environment, rules, key):
            share = worlds[0].starts
            more = 100.0 * (1 - share) if rules.denoised else 0.0
            return {"score": {"mean": scores[share] + more, "sem": 10.0}, "rules": rules.sampling}

        monkeypatch.setattr(evolve, "dream_score", dream_score)
        given: Any = (Drives(), None, SimpleNamespace(members=[]), None)
        journals: Any = dict.fromkeys(scores)
        environment = file.section(Environment, "environment")
        evolve.run("r1", "r0", given, settings, settings.refine, environment, journals)
        return tmp_path

    return run


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ({0.1: 870.0, 0.5: 890.0}, 0.5),
        ({0.1: 890.0, 0.5: 879.0}, 0.1),
        ({0.1: 890.0, 0.5: 881.0}, 0.5),
        ({0.5: 881.0, 0.1: 890.0, 0.3: 885.0}, 0.5),
        ({0.5: 881.0, 0.1: 895.0, 0.3: 886.0}, 0.3),
    ],
)
def test_of_the_searches_whose_whole_dreams_are_as_good_the_one_with_most_troubles_is_kept(
    searches, scores, wanted
):
    folder = searches(scores)
    kept = model_file.load(folder / "models/r1/controller.eqx", controller.Controller)
    assert np.unique(kept.parameters).tolist() == [np.float32(wanted)]
    said = json.loads((folder / "metrics/r1/searches.json").read_text())
    dreams = {str(share): {"mean": mean, "sem": 10.0} for share, mean in scores.items()}
    assert said == {"trouble_share": wanted, "dream": dreams}
    told = json.loads((folder / "metrics/r1/dream.json").read_text())
    assert (told["score"]["mean"], told["rules"]) == (scores[wanted] + 100.0 * (1 - wanted), "denoised")
    assert (folder / "metrics/r1/evolve.csv").read_text().splitlines()[1] == f"0,{wanted}"
