"""What evolution is told of a dream, and where its dreams start: stages/evolve.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from stages import evolve
from wm import config
from wm.dream import Outcome, Rules

RULES = Rules(temperature=1.0, patience=4, action_repeat=4)
IDLE = -0.4


@pytest.fixture(scope="module")
def settings():
    changes = {"horizon_steps": 20, "lap_steps": 200}
    return config.section(evolve.Config, "evolve").model_copy(update=changes)


def test_no_more_is_paid_than_the_horizons_share_of_a_lap(settings):
    """5 tile points a step, 100 in 20 steps: won after 4 steps, and nothing counts from then on."""
    rewards = jnp.full(20, 25 + IDLE)
    found = evolve.within_lap(Outcome(rewards, jnp.ones(20), jnp.full(20, 0.1)), settings, RULES)
    assert found.reward.tolist() == rewards[:4].tolist() + [0] * 16
    assert found.missed.tolist() == [1] * 4 + [0] * 16
    assert found.failure[4:].tolist() == [0] * 16
    slow = Outcome(jnp.full(20, 4.0), jnp.zeros(20), jnp.zeros(20))
    assert evolve.within_lap(slow, settings, RULES).reward.tolist() == slow.reward.tolist()


def test_a_trouble_begins_where_the_tiles_end_for_ten_steps():
    drive = np.full(60, 3.0)
    drive[20:35] = drive[50:] = IDLE  # the last ten steps count, too
    drive[40:45] = IDLE  # a short one does not
    assert evolve.troubles(drive).tolist() == [20, 50]
    assert len(evolve.troubles(np.full(40, IDLE))) == 0
    assert len(evolve.troubles(drive[:5])) == 0


@pytest.mark.parametrize(("share", "near"), [(0.0, 0.3), (1.0, 1.0)])
def test_dreams_start_shortly_before_a_trouble_as_often_as_is_asked_for(settings, share, near):
    drive = np.full(200, 3.0)
    drive[100:] = IDLE
    chosen = settings.model_copy(update={"trouble_share": share, "starts_per_episode": 400})
    times = evolve.moments(drive, chosen, np.random.default_rng(0))
    before = (times >= 75) & (times <= 97)
    assert ((times >= 0) & (times < 200)).all()
    assert before.mean() == 1.0 if near == 1.0 else before.mean() < near


def test_a_drive_without_trouble_is_dreamt_on_from_anywhere(settings):
    chosen = settings.model_copy(update={"trouble_share": 1.0, "starts_per_episode": 400})
    times = evolve.moments(np.full(200, 3.0), chosen, np.random.default_rng(0))
    assert times.min() < 20
    assert times.max() > 180


def test_more_components_than_features_are_refused(settings):
    with pytest.raises(config.BadInput, match=r"evolve\.components: found 64, wanted 5 at most"):
        evolve.check_components(settings, features=5)
