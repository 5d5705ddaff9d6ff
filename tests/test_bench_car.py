"""What bench/car.py and bench/encoder_noise.py measure."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from bench import car, encoder_noise, tables
from wm.data.shards import Shards
from wm.track.renderer import CarRacing


def test_the_committed_table_of_brakes_is_measured_again():
    rows = tables.rows(car.DATA / "grass.csv")
    assert [car.grass_row(float(row["brake"])) for row in rows] == rows


def test_more_gas_in_the_warm_up_goes_further():
    game = CarRacing()
    slow, fast = (car.warm_up(game, car.FIRST_TRACK, gas) for gas in (0.1, 0.5))
    assert fast.distance > slow.distance + 5
    assert fast.points > slow.points
    assert slow.wheels_off_road == fast.wheels_off_road == 0


@pytest.mark.parametrize("logvar", [-1.0, 0.0])
def test_entropy_is_the_one_of_a_gaussian(logvar):
    """Two episodes of different lengths; every step counts alike."""
    episodes = {
        steps: SimpleNamespace(observations={"logvar": np.full((steps, 32), logvar, np.float32)})
        for steps in (3, 5)
    }
    shards = SimpleNamespace(kept=lambda validation: list(episodes) if validation else [], read=episodes.get)
    expected = 32 * 0.5 * (np.log(2 * np.pi * np.e) + logvar)
    assert encoder_noise.entropy(cast(Shards, shards)) == pytest.approx(expected)
