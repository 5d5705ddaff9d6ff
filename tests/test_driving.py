"""Drives on real tracks: the same episodes for any number of cars and workers, one after another."""

import equinox as eqx
import jax.random as jr
import pytest

from wm.agent import driving
from wm.agent.agent_files import AgentFiles
from wm.agent.drive import Drive
from wm.models.controller import Controller, snapshots
from wm.models.rnn import RNN
from wm.models.vae import VAE
from wm.runtime import model_file
from wm.runtime.tasks import ListedTasks
from wm.runtime.workers import Where
from wm.spec import Timing

TIMING = Timing(action_repeat=30, warm_up_frames=50)  # at most 32 steps
KINDS = [{}, {"action_noise": 0.2}, {"snapshot": 0.5}, {"sampled": True}]
DRIVES = [Drive(seed, **KINDS[seed % 4]) for seed in range(11)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent")
    files = AgentFiles(*(folder / f"{name}.eqx" for name in ("vae", "rnn", "controller", "snapshots")))
    controllers = [
        eqx.tree_at(lambda c: c.weight, Controller(features=12), weight)
        for weight in jr.normal(jr.key(2), (3, 3, 12))
    ]
    made = (
        VAE(latent_size=4, widths=(4, 4, 4, 4), key=jr.key(0)),
        RNN(latent_size=4, hidden_size=8, mixtures=2, key=jr.key(1)),
        controllers[0],
        snapshots(controllers),
    )
    for path, model in zip(files.paths, made, strict=True):
        model_file.save(path, model)
    return files


def compared(episode):
    arrays = (episode.observations["frame"], episode.actions, episode.rewards, episode.missed)
    return (episode.record, *(array.tobytes() for array in arrays))


def alone(models, drive):
    """The episode of a drive by a single car."""
    return dict(driving._episodes(models, TIMING, "x", 1, ListedTasks([drive])))[0]


@pytest.fixture(scope="module")
def expected(models):
    return [compared(alone(models, drive)) for drive in DRIVES]


@pytest.mark.parametrize("count", [1, 2])
def test_drives_are_the_same_on_any_number_of_workers(models, expected, count):
    frames = []
    drives = driving.drive_all(models, iter(DRIVES), TIMING, "x", Where("local", count), frames.append)
    assert [compared(episode) for episode in drives] == expected
    steps = sum(record[0].length for record in expected)
    assert sum(frames) == len(DRIVES) * TIMING.warm_up_frames + steps * TIMING.action_repeat


@pytest.mark.parametrize("count", [3, driving.CARS])
def test_a_car_whose_drive_is_over_starts_the_next_one(models, expected, count):
    episodes = dict(driving._episodes(models, TIMING, "x", count, ListedTasks(DRIVES)))
    assert [compared(episodes[i]) for i in range(len(DRIVES))] == expected


def test_the_same_seed_with_other_noise_is_another_drive(models):
    scores = {alone(models, Drive(1, action_noise=noise)).actions.tobytes() for noise in (0.0, 0.1, 0.2)}
    assert len(scores) == 3


def test_drives_are_made_when_a_car_is_free(models):
    """So `wm evaluate --episodes 100000000` takes no more memory at its start than one drive."""
    made = []
    endless = (made.append(seed) or Drive(seed) for seed in range(10**8))
    running = driving.drive_all(models, endless, TIMING, "x", Where("local", 1))
    assert [next(running).record.seed for _ in range(3)] == [0, 1, 2]
    assert len(made) < 100
