"""Two measurements of the simulated car that explain parameters of params.yaml.

    uv run python -m bench.car     # about a minute; writes docs/experiments/data/warm_up.csv and grass.csv

warm_up.csv: 50 frames straight on at constant gas on 300 development tracks. grass.csv: a car at rest on
grass, 100 frames of full gas at constant brake. Lengths are in Box2D's units: the road is 13.3
wide.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gymnasium.envs.box2d.car_dynamics import Car

from bench import process
from wm.runtime import files, run
from wm.track.renderer import CarRacing

DATA = Path(__file__).parents[1] / "docs" / "experiments" / "data"
FIRST_TRACK, WARM_UP_FRAMES, GRASS_FRAMES = 500_000, 50, 100
GAS = (0.1, 0.2, 0.3, 0.5, 1.0)
BRAKE = (0.0, 0.05, 0.1, 0.105, 0.11, 0.5, 0.85)


class WarmUp(NamedTuple):
    """The car after the warm-up of one track."""

    distance: float
    speed: float
    points: float
    off_centre: float
    wheels_off_road: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.car", description=__doc__)
    parser.add_argument("--tracks", type=int, default=300, help="tracks of warm_up.csv; default 300")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the two CSV files")
    arguments = parser.parse_args()
    files.write_csv(arguments.out / "warm_up.csv", [warm_up_row(gas, arguments.tracks) for gas in GAS])
    files.write_csv(arguments.out / "grass.csv", [grass_row(brake) for brake in BRAKE])


def warm_up_row(gas: float, tracks: int) -> dict[str, str]:
    """Means over the tracks, and the spread of the distance from the centre line."""
    game = CarRacing()
    drives = [warm_up(game, FIRST_TRACK + number, gas) for number in range(tracks)]
    off_centre = [drive.off_centre for drive in drives]
    return {
        "gas": f"{gas:g}",
        "tracks": str(tracks),
        "distance": f"{np.mean([drive.distance for drive in drives]):.1f}",
        "speed": f"{np.mean([drive.speed for drive in drives]):.1f}",
        "points": f"{np.mean([drive.points for drive in drives]):.1f}",
        "off_centre_median": f"{np.median(off_centre):.1f}",
        "off_centre_95": f"{np.quantile(off_centre, 0.95):.1f}",
        "off_centre_max": f"{np.max(off_centre):.1f}",
        "tracks_with_a_wheel_off_road": str(sum(drive.wheels_off_road > 0 for drive in drives)),
    }


def warm_up(game: CarRacing, seed: int, gas: float) -> WarmUp:
    """Drives straight on at this gas from the start of a track."""
    game.reset(seed=seed)
    start, points = position(game), 0.0
    for _ in range(WARM_UP_FRAMES):
        game.move(np.array([0.0, gas, 0.0], np.float32))
        points += game.settle()[0]
    end = position(game)
    centre = np.array([(x, y) for _, _, x, y in game.track])
    return WarmUp(
        distance=float(np.hypot(*(end - start))),
        speed=speed(game),
        points=float(points),
        off_centre=float(np.hypot(*(centre - end).T).min()),
        wheels_off_road=sum(not wheel.tiles for wheel in car(game).wheels),
    )


def grass_row(brake: float) -> dict[str, str]:
    """Speed of a car that was at rest on grass, after full gas at this brake."""
    game = CarRacing()
    game.reset(seed=FIRST_TRACK)
    for body in (car(game).hull, *car(game).wheels):
        body.position = (body.position[0] - 150, body.position[1])
    for _ in range(GRASS_FRAMES):
        game.move(np.array([0.0, 1.0, brake], np.float32))
        game.settle()
    return {"brake": f"{brake:g}", "speed": f"{speed(game):.1f}"}


def car(game: CarRacing) -> Car:
    """The car, which exists after a reset."""
    assert game.car is not None
    return game.car


def position(game: CarRacing) -> np.ndarray:
    """Position of the car's centre."""
    return np.array(car(game).hull.position)


def speed(game: CarRacing) -> float:
    """Speed of the car, units per second."""
    return float(np.hypot(*car(game).hull.linearVelocity))


if __name__ == "__main__":
    process.set_up()
    run.run(main)
