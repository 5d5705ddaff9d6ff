import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pygame
import pytest

from wm.agent import driving
from wm.agent.agent import Agent
from wm.agent.drive import Drive
from wm.agent.folder import AgentFolder
from wm.dream.dynamics import Dream, Rules
from wm.dream.starts import Starts
from wm.dream.unroll import unroll
from wm.models.controller import Controller, stack
from wm.models.rnn import RNN
from wm.models.vae import VAE
from wm.runtime.workers import Where
from wm.spec import Timing
from wm.track.renderer import shrink
from wm.viewer import scenes, window
from wm.viewer.game import Game, steered
from wm.viewer.scenes import DreamWorld, Models, RealWorld

ROOT = Path(__file__).parents[1]
PRETRAINED = ROOT / "models" / "pretrained"
TIMING = Timing(action_repeat=4, warm_up_frames=50)
RULES = Rules(temperature=1.0, stuck_steps=0, action_repeat=4)


@pytest.fixture(scope="module")
def models():
    controller = Controller(features=12)
    driver = controller.with_parameters(0.3 * jr.normal(jr.key(3), controller.parameters.shape))
    vae = VAE(latent_size=4, widths=(4, 4, 4, 4), key=jr.key(0))
    rnn, simulator = (RNN(latent_size=4, hidden_size=8, mixtures=2, key=jr.key(i)) for i in (1, 2))
    simulator = eqx.tree_at(lambda m: m.head_bias, simulator, simulator.head_bias.at[-1].set(-50.0))
    dream = Dream([simulator], rnn, RULES, warm_up_frames=50)  # never fails
    return Models(Agent(vae, rnn, driver), dream, TIMING)


@pytest.fixture(scope="module")
def pretrained():
    models = Models.load(AgentFolder(PRETRAINED), seed=1)
    return replace(models, timing=TIMING, dream=replace(models.dream, rules=RULES))


@pytest.fixture
def dummy(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.init()
    yield
    pygame.display.quit()


def game(models, kind="real", driver=False):
    return Game(models, kind=kind, seed=7, agent=driver)


def test_held_keys_move_the_controls_gradually_and_released_keys_centre_them():
    action, turned = np.zeros(3, np.float32), []
    for _ in range(8):
        action = steered(action, {"left", "up"}, 4)
        turned.append(float(action[0]))
    assert -0.5 < turned[0] < 0
    assert (np.diff(turned) <= 0).all()
    assert turned[-1] == -1
    assert 0.5 < action[1] <= 1
    assert steered(action, {"left", "right"}, 4)[0] > -1  # both keys cancel out
    for _ in range(8):
        action = steered(action, set(), 4)
    assert np.allclose(action, 0)
    assert steered(action, {"down"}, 4)[2] > 0


@pytest.mark.parametrize(("key", "sign"), [("left", 1), ("right", -1)])
def test_the_real_car_turns_to_the_side_of_the_key(models, key, sign):
    played = game(models)
    before = played.real.track.heading
    for _ in range(8):
        played.step({key, "up"})
    assert sign * played.actions["real"][0] < -0.9
    assert sign * (played.real.track.heading - before) > 0.2


def test_restart_takes_the_next_track_and_a_seed_repeats_its_track(models):
    played, again = game(models), game(models)
    first = played.scenes["real"].picture
    assert np.array_equal(first, again.scenes["real"].picture)
    played.step({"up"})
    played.press("restart")
    assert played.seed == 8
    assert not np.array_equal(played.scenes["real"].picture, first)
    assert played.scenes["real"].score == pytest.approx(RealWorld(models).restart(8).score)


def test_both_worlds_start_in_the_same_state_and_get_the_same_actions(pretrained):
    played = game(pretrained, "both")
    real, dreamt = played.scenes["real"], played.scenes["dream"]
    error = np.abs(shrink(real.picture).astype(float) - dreamt.picture).mean()
    assert error < 6  # of 255 grey levels
    assert real.score == dreamt.score
    for _ in range(3):
        played.step({"right", "up"})
    real, dreamt = played.scenes["real"], played.scenes["dream"]
    assert real.frames == dreamt.frames == 50 + 3 * 4
    assert real.score != dreamt.score
    assert np.abs(shrink(real.picture).astype(float) - dreamt.picture).mean() < 20


def test_an_agent_plays_as_in_evaluation(pretrained):
    """RealWorld draws every frame and updates two memories, without effect on rewards and actions."""
    played = game(pretrained, driver=True)
    rewards = [played.step(set())["real"].reward for _ in range(12)]
    episode = next(
        driving.drive_all(
            AgentFolder(PRETRAINED).files,
            [Drive(7)],
            TIMING,
            "agent",
            Where("local", 1),
        )
    )
    assert np.allclose(rewards, episode.rewards[:12], atol=1e-4)
    assert np.allclose(played.actions["real"], episode.actions[11], atol=1e-3)


def test_a_game_dreams_as_evolution_does(models):
    """Without randomness the agent's dream, step by step, is the one of `unroll`."""
    rules = RULES.replace(sampling="mean")
    played = game(replace(models, dream=replace(models.dream, rules=rules)), "dream", driver=True)
    state = played.scenes["dream"].state
    still = Starts(
        state.z[None], jnp.full((1, 4), -100.0), models.simulator.start(1), models.agent.rnn.start(1)
    )
    population = stack([models.agent.controller])
    simulation = replace(models.dream.simulations[0], rules=rules)
    end, outcome, actions, _ = unroll(simulation, population, still, jr.key(0), steps=5)
    rewards = [played.step(set())["dream"].reward for _ in range(5)]
    assert np.allclose(rewards, outcome.reward[:, 0, 0], atol=1e-5)
    assert np.allclose(played.actions["dream"], actions[-1, 0, 0], atol=1e-5)
    assert np.allclose(played.scenes["dream"].state.z, end.z[0, 0], atol=1e-5)


def test_the_agent_drives_each_world_by_its_own_latents(models):
    played = game(models, "both", driver=True)
    for _ in range(3):
        expected = {name: scenes.choose(models, scene) for name, scene in played.scenes.items()}
        played.step(set())
        assert all(np.array_equal(played.actions[name], action) for name, action in expected.items())
    assert not np.allclose(played.actions["real"], played.actions["dream"])


def test_a_dream_that_fails_is_over_until_the_next_track(models):
    bias = models.simulator.head_bias.at[-1].set(50.0)
    certain = eqx.tree_at(lambda m: m.dream.simulators[0].head_bias, models, bias)
    played = game(certain, "both")
    before = played.scenes["dream"].score
    ended = played.step(set())["dream"]
    assert ended.ending == scenes.FAILED
    assert ended.score == pytest.approx(before - 100)
    assert not played.over  # the real car continues
    assert played.step(set())["dream"] is ended
    assert played.scenes["real"].frames == 50 + 2 * 4
    quiet = window.picture(played, 3)
    played.press("restart")
    assert played.scenes["dream"].ending == ""
    assert not np.array_equal(quiet, window.picture(played, 3))


def test_a_dream_ends_with_all_tiles_or_all_frames(models):
    world = DreamWorld(models, 0)
    start = RealWorld(models).restart(7)
    idle = np.zeros(3, np.float32)
    world.restart(start._replace(score=996.0))
    assert world.step(idle).ending == scenes.LAP
    world.restart(start._replace(frames=996, score=0.0))
    assert world.step(idle).ending == scenes.TIME
    world.restart(start._replace(frames=992, score=0.0))
    assert world.step(idle).ending == ""


def post(key, down=True, mod=0):
    pygame.event.post(pygame.Event(pygame.KEYDOWN if down else pygame.KEYUP, key=key, mod=mod))


def test_the_windows_keys_reach_the_game(models, dummy):
    played = game(models, "both", driver=True)
    post(pygame.K_t)
    post(pygame.K_t)
    post(pygame.K_t, mod=pygame.KMOD_LSHIFT)
    window.run(played, 1)
    assert played.temperature == played.dream.temperature == pytest.approx(1.1)
    assert played.agent_drives
    pygame.display.init()
    post(pygame.K_LEFT)
    window.run(played, 6)
    assert not played.agent_drives  # a key takes over from the agent
    assert (
        played.actions["real"][0] == played.actions["dream"][0] == -1
    )  # and keeps steering until it is released
    pygame.display.init()
    post(pygame.K_r)
    post(pygame.K_a)
    window.run(played, 1)
    assert played.seed == 8
    assert played.agent_drives


@pytest.mark.parametrize("event", [pygame.Event(pygame.QUIT), pygame.Event(pygame.KEYDOWN, key=pygame.K_q)])
def test_the_window_closes_at_once(models, dummy, event):
    played = game(models)
    pygame.event.post(event)
    window.run(played, 0)
    assert played.scenes["real"].frames == 50
    assert not pygame.display.get_init()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_takes_effect_after_the_step(models, dummy, monkeypatch, number):
    """It closes the window and ends the game, but never during a step of Box2D, which would crash."""
    played, whole, step = game(models), [], RealWorld.step

    def interrupted(world, action):
        signal.raise_signal(number)
        scene = step(world, action)
        whole.append(scene)
        return scene

    monkeypatch.setattr(RealWorld, "step", interrupted)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match=str(int(number))):
        window.run(played, 5)
    assert len(whole) == 1
    assert not pygame.display.get_init()
    assert signal.getsignal(number) is before


def test_a_released_key_is_not_held_and_a_short_tap_counts(dummy):
    keyboard = window.Keyboard()
    tap = [pygame.Event(kind, key=pygame.K_LEFT, mod=0) for kind in (pygame.KEYDOWN, pygame.KEYUP)]
    assert keyboard.read(tap) == ["left"]
    assert not keyboard.held
    keyboard.read(tap[:1])
    assert keyboard.read([]) == []
    assert keyboard.held == {"left"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_without_a_display_there_is_a_one_line_error_and_exit_code_2():
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-m", "wm.cli", "play", "--steps", "1"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: display: found none, expected DISPLAY")
    assert len(ended.stderr.splitlines()) == 1
