import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.agent.agent import Agent
from wm.dream.dynamics import Dream, Rules
from wm.models import mdn, rnn
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.models.vae import VAE
from wm.spec import Timing
from wm.viewer import commands, comparison, film, hud, scenes
from wm.viewer.comparison import FilmPlan
from wm.viewer.scenes import Models

ROOT = Path(__file__).parents[1]
TIMING = Timing(action_repeat=4, warm_up_frames=50)
RULES = Rules(temperature=1.0, stuck_steps=0, action_repeat=4)


@pytest.fixture(scope="module")
def models():
    vae = VAE(latent_size=4, widths=(4, 4, 4, 4), key=jr.key(0))
    own, simulator = (RNN(latent_size=4, hidden_size=8, mixtures=2, key=jr.key(i)) for i in (1, 2))
    simulator = eqx.tree_at(lambda m: m.head_bias, simulator, simulator.head_bias.at[-1].set(-50.0))
    dream = Dream([simulator], own, RULES, warm_up_frames=50)  # never fails
    controller = Controller(features=12)
    driver = controller.with_parameters(0.3 * jr.normal(jr.key(3), controller.parameters.shape))
    return Models(Agent(vae, own, driver), dream, TIMING)


def filmed(models, rules=RULES, steps=9, warm_steps=3, dream_steps=4, replay=False):
    plan = FilmPlan(5, steps, warm_steps, dream_steps, replay)
    models = replace(models, dream=replace(models.dream, rules=rules))
    return list(comparison.moments(models, plan))


@pytest.mark.parametrize(
    ("warm_steps", "dream_steps", "expected"),
    [(3, 0, [0, 1, 2]), (3, 4, [0, 1, 2, 6, 10]), (1, 5, [0, 5, 10]), (1, 1, list(range(12)))],
)
def test_a_dream_is_synchronised_at_first_and_then_every_so_many_steps(warm_steps, dream_steps, expected):
    plan = FilmPlan(0, 0, warm_steps, dream_steps)
    assert [step for step in range(12) if plan.synced(step)] == expected


def test_a_synchronised_dream_has_the_real_state_and_the_next_steps_do_not(models):
    drive = filmed(models)
    assert [moment.dreamt_steps for moment in drive] == [0, 0, 0, 1, 2, 3, 0, 1, 2, 3]
    for moment in drive:
        same = np.allclose(moment.dream.state.z, moment.real.state.z)
        assert same == (moment.dreamt_steps == 0)
        assert (moment.dream.score == moment.real.score) == (moment.dreamt_steps == 0)
        assert moment.dream.frames == moment.real.frames
        if moment.dreamt_steps == 0:
            assert np.array_equal(moment.dream.picture, scenes.reconstruction(models, moment.real.state))


def test_the_agent_drives_the_dream_by_the_dream_s_latents(models):
    drive = filmed(models)
    for before, after in itertools.pairwise(drive):
        seen = before.real if after.dreamt_steps == 0 else before.dream
        assert np.array_equal(after.dream_action, scenes.choose(models, seen))
        assert np.array_equal(after.real_action, scenes.choose(models, before.real))
    apart = [not np.array_equal(moment.dream_action, moment.real_action) for moment in drive]
    assert apart == [moment.dreamt_steps > 1 for moment in drive]  # both still see the same at first


def test_a_replay_repeats_the_real_actions_in_the_dream(models):
    drive = filmed(models, replay=True)
    assert all(np.array_equal(moment.dream_action, moment.real_action) for moment in drive)
    assert not np.allclose(drive[-1].dream.state.z, filmed(models)[-1].dream.state.z)


@pytest.mark.parametrize(("replay", "count"), [(False, 4), (True, 3)])
def test_a_film_ends_with_both_drives_and_a_replay_with_the_real_one(models, monkeypatch, replay, count):
    """The real drive fails after two steps, the dream fills its time after three."""
    endings = iter(["", scenes.FAILED])
    monkeypatch.setattr(
        scenes, "_ending", lambda observation: next(endings, "") if observation.frames > 50 else ""
    )
    monkeypatch.setattr(scenes, "FRAMES_PER_EPISODE", 50 + 3 * 4)
    drive = filmed(models, steps=0, warm_steps=1, dream_steps=0, replay=replay)
    assert len(drive) == count
    assert drive[2].real.ending == drive[-1].real.ending == scenes.FAILED
    assert drive[-1].real.frames == 50 + 2 * 4
    assert drive[-1].dream.ending == ("" if replay else scenes.TIME)


@pytest.mark.parametrize(
    "caption", [comparison.DRIVEN, comparison.RECONSTRUCTED, comparison.DREAMT, comparison.REPLAYED]
)
def test_captions_fit_into_their_halves(caption):
    assert comparison.CAPTION.width(caption) <= comparison.WIDTH


def test_a_replay_is_labelled_in_the_picture(models):
    drive = filmed(models, steps=1, warm_steps=1)
    own, replayed = (list(comparison.draw(drive, replay))[-1] for replay in (False, True))
    dream = np.s_[: comparison.HEAD, comparison.GAP + comparison.WIDTH :]
    assert not np.array_equal(own[dream], replayed[dream])


def test_the_dream_continues_from_the_memory_of_the_real_drive(models):
    """Its first dreamt latent is what the simulator predicts after all real steps before."""
    drive = filmed(models, RULES.replace(sampling="mean"), steps=4, warm_steps=4, dream_steps=0)
    z = jnp.stack([moment.real.state.z for moment in drive[:4]])
    actions = jnp.asarray(np.stack([moment.real_action for moment in drive[1:5]]))
    memory = rnn.unroll(models.simulator, z[None], actions[None])
    expected = models.simulator.predict(memory.hidden[-1, 0])
    found = drive[4].dream
    assert np.allclose(found.state.z, mdn.expectation(expected.mixture), atol=1e-5)
    assert found.reward == pytest.approx(float(expected.reward), abs=1e-4)
    assert found.score == pytest.approx(drive[3].real.score + found.reward, abs=1e-4)


def test_rewards_of_the_drive_add_up_to_its_score(models):
    drive = filmed(models)
    total = drive[0].real.score + sum(moment.real.reward for moment in drive[1:])
    assert drive[-1].real.score == pytest.approx(total)
    assert drive[-1].real.frames == 50 + 9 * 4


def test_a_synchronisation_is_marked(models):
    """The dream's picture has a border when it is synchronised, and loses it some steps later."""
    drive = filmed(models, steps=14, warm_steps=2, dream_steps=0)
    corner = [picture[comparison.HEAD, -comparison.GAP - 1] for picture in comparison.draw(drive)]
    marked = [tuple(map(int, colour)) == hud.WARNING for colour in corner]
    assert marked == [True] * (1 + comparison.BORDER_STEPS) + [False] * (
        len(drive) - 1 - comparison.BORDER_STEPS
    )


def test_a_film_is_complete_and_the_same_twice(models, tmp_path):
    first, second = (list(comparison.draw(filmed(models))) for _ in range(2))
    written = [
        comparison.write(tmp_path / name, drawn, 12.5) for name, drawn in (("a", first), ("b", second))
    ]
    assert [path.name for path in written[0]] == ["film.webm", "film.webp", "strip.png"]
    for first_file, second_file in zip(*written, strict=True):
        assert first_file.read_bytes() == second_file.read_bytes()
    height, width, _ = first[0].shape
    read, animation = cv2.imreadanimation(str(written[0][1]))
    assert read
    assert len(animation.frames) == len(first) == 10
    assert list(animation.durations) == [80] * 10
    assert animation.frames[0].shape[:2] == (height, width)
    difference = animation.frames[-1][..., 2::-1].astype(float) - first[-1]
    assert np.abs(difference).mean() < 4
    video = cv2.VideoCapture(str(written[0][0]))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (width, height)
    assert sum(iter(lambda: video.read()[0], False)) == 10
    strip = cv2.imread(str(written[0][2]))
    assert strip is not None
    assert strip.shape == (3 * height, 2 * width, 3)


def test_an_animation_leaves_out_pictures_of_faster_films(models, tmp_path):
    drawn = list(comparison.draw(filmed(models)))
    path = comparison.write(tmp_path, drawn, 25.0)[1]
    animation = cv2.imreadanimation(str(path))[1]
    assert list(animation.durations) == [80] * 5


def test_writing_a_film_prints_nothing(tmp_path, capfd):
    """OpenCV's own messages do not pass through sys.stderr."""
    film.write_video(tmp_path / "film.webm", [np.zeros((64, 64, 3), np.uint8)] * 3, 12.5)
    assert capfd.readouterr() == ("", "")
    os.write(2, b"later messages are shown")
    assert capfd.readouterr().err == "later messages are shown"


@pytest.mark.parametrize("steering", [-1.0, -0.5, 0.5, 1.0])
def test_bars_show_steering_gas_and_brake(steering):
    row = hud.controls(np.array([steering, 0.25, 1.0], np.float32), 300)[9]
    lit = {
        name: np.flatnonzero((row == colour).all(axis=-1))
        for name, colour in (("steer", hud.STEERING), ("gas", hud.GAS), ("brake", hud.BRAKE))
    }
    middle = np.flatnonzero((row == hud.INK).all(axis=-1))[0]
    assert ((lit["steer"] < middle) == (steering < 0)).all()
    assert len(lit["steer"]) == pytest.approx(23 * abs(steering), abs=1)
    assert len(lit["gas"]) == pytest.approx(len(lit["brake"]) / 4, abs=1)


def test_a_folder_that_cannot_be_made_is_one_line_and_exit_2(tmp_path):
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "wm.cli", "watch", "--out", str(tmp_path / "file" / "film")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "a folder to write to" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_command_prints_the_steps_that_were_synchronised(models, tmp_path, monkeypatch):
    monkeypatch.setattr(commands.Models, "load", lambda folder, seed: models)
    plan = FilmPlan(seed=5, steps=4, warm_steps=50, dream_steps=0)
    told, paths = commands.film(tmp_path, tmp_path / "film", plan)
    assert "synchronised for 4 steps" in told
    assert all(Path(path).exists() for path in paths.split(", "))
