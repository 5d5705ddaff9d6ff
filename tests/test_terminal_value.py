"""What the terminal value of a dream is fitted to."""

import numpy as np
import pytest

from wm.data.processing import LOST_FRAMES
from wm.models import value
from wm.search.payoff import Payoff
from wm.search.terminal_value import ValueTarget

TARGET = ValueTarget(Payoff(fastest_lap_steps=100, missed_tile_cost=15.0, action_repeat=2), steps=60)
LOST = LOST_FRAMES // 2


def drive(lost):
    """Fifty steps of three points, then `lost` without a tile; one is missed ten steps after the last one."""
    rewards = np.array([3.0] * 50 + [TARGET.payoff.idle] * lost)
    missed = np.zeros(len(rewards), int)
    missed[60] = 1
    return TARGET.paid(rewards, missed)


def test_a_lost_cars_steps_are_worth_what_its_drive_would_go_on_to_pay():
    ahead = value.sums_ahead(drive(LOST), TARGET.steps)
    assert len(ahead) == 50 + LOST  # one value for each step of the data
    idle = TARGET.payoff.idle * TARGET.steps
    assert ahead[-1] == pytest.approx(idle)
    assert ahead[55] == pytest.approx(idle - 15)
    assert ahead[39] == pytest.approx(10 * 3 + 50 * TARGET.payoff.idle - 15)


def test_a_car_that_may_return_has_no_value_near_the_end_of_its_data():
    assert len(value.sums_ahead(drive(LOST - 1), TARGET.steps)) == 50 + LOST - 1 - TARGET.steps
