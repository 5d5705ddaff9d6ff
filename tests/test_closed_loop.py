"""Closed-loop drift: probes, two-sample test, alignment of time, and rows that show what differs."""

import json
import re
from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.data.episode import Record
from wm.data.shards import Shards
from wm.dream import dynamics
from wm.dream.dynamics import Dream, Rules, State
from wm.errors import BadInput
from wm.fidelity import closed_loop, continuations, probes, two_sample
from wm.fidelity.closed_loop import Compared, cross_fitted
from wm.fidelity.continuations import LabelledDrives
from wm.models import mdn, rnn
from wm.models.controller import Controller
from wm.models.rnn import RNN, Batch
from wm.report import charts
from wm.spec import Timing

ROOT = Path(__file__).parents[1]
TIMING = Timing(action_repeat=2, warm_up_frames=50)
TRACKS, TIME, LATENT, STEPS, WINDOW = 12, 120, 6, 40, 10
WEIGHT = np.random.default_rng(9).normal(size=(LATENT, 3))
OFFSET = np.array([50.0, 0.02, 0.1])
SCALE = np.array([5.0, 0.004, 0.05])


# --- probes


def test_a_probe_recovers_a_linear_map_in_the_labels_units():
    rng = np.random.default_rng(0)
    z = 3 + rng.normal(size=(5000, LATENT)) * [1, 2, 3, 0.1, 0.5, 10]
    probe = probes.fit(z, OFFSET + z @ WEIGHT)
    fresh = rng.normal(size=(7, 3, LATENT)) * [1, 2, 3, 0.1, 0.5, 10]
    assert probe(fresh).shape == (7, 3, 3)
    assert np.allclose(probe(fresh), OFFSET + fresh @ WEIGHT, atol=0.2)
    assert np.allclose(probes.explained(probe(z), OFFSET + z @ WEIGHT), 1, atol=1e-4)


def test_the_share_explained_is_zero_for_the_mean_and_for_a_constant():
    label = np.random.default_rng(0).normal(size=(100, 2)) * [1, 0]
    assert np.allclose(probes.explained(np.zeros_like(label) + label.mean(axis=0), label), 0)


def test_a_track_is_read_by_the_probe_of_the_other_half():
    """The labels of every second track are negated, so that each half's probe is wrong about the other."""
    z = np.random.default_rng(0).normal(size=(4, 300, 2))
    label = z.copy()
    label[1::2] *= -1
    probe = cross_fitted(z, label, np.ones((4, 300), bool))
    assert np.allclose(probe(z), -label, atol=0.02)


def test_a_probe_reads_the_steps_before_each_step():
    z = np.arange(20.0).reshape(2, 10, 1)
    found = probes.recent(z)
    assert found.shape == (2, 10, 5)
    assert found[0, 9].tolist() == [9, 8, 7, 5, 1]
    assert found[1, 3].tolist() == [13, 12, 11, 10, 10]


def test_padding_is_not_read():
    z = np.random.default_rng(0).normal(size=(4, 300, 2))
    mask = np.arange(300) < 200
    padded = np.where(mask[:, None], z, 7.0)
    label = np.where(mask[:, None], z, 1000.0)
    assert np.allclose(cross_fitted(padded, label, np.tile(mask, (4, 1)))(z), z, atol=0.02)


# --- two-sample test


def test_the_auc_is_the_share_of_pairs_in_the_right_order():
    wins = two_sample.wins(np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([[2.0, 0.0], [5.0, 5.0]]))
    assert wins.tolist() == [[0.75, 0.0], [0.25, 0.0]]


def noise(seed, width=1.0):
    """Smooth sequences (track, start, step, latent), different from track to track."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(TRACKS, 20, STEPS, LATENT)).cumsum(axis=2)
    return width * (steps / 4 + rng.normal(size=(TRACKS, 1, 1, LATENT)) / 4)


def auc(dreamt, real, name):
    feature = two_sample.FEATURES[name]
    worlds = (feature(closed_loop.sequences(z[:, :, :WINDOW])) for z in (dreamt, real))
    return closed_loop.auc_interval(*worlds, seed=0)


@pytest.mark.parametrize("name", two_sample.FEATURES)
def test_worlds_of_the_same_distribution_cannot_be_told_apart(name):
    found = auc(noise(0), noise(1), name)
    assert found["low"] < 0.5 < found["high"]
    assert found["mean"] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("name", "dreamt"),
    [
        pytest.param("level", noise(0) + 2, id="another mean"),
        pytest.param("change", noise(0, width=0.4), id="smoother"),
        pytest.param("change", noise(0) + np.random.default_rng(2).normal(size=noise(0).shape), id="rougher"),
    ],
)
def test_worlds_that_differ_are_told_apart_on_tracks_not_fitted(name, dreamt):
    found = auc(dreamt, noise(1), name)
    assert found["low"] > 0.6
    assert found["low"] <= found["mean"] <= found["high"]


def test_features_of_a_sequence():
    z = np.array([[1.0, 0.0], [2.0, 0.0], [6.0, 0.0]])
    assert two_sample.level(z).tolist() == [3, 0]
    assert two_sample.change(z).tolist() == [(1 + 16) / 2, 0]
    assert two_sample.change(z[:1]).tolist() == [0, 0]


def test_a_sequence_lies_within_one_dream():
    z = np.arange(2 * 3 * 12).reshape(2, 3, 12, 1).astype(float)
    found = closed_loop.sequences(z)
    assert found.shape == (2, 6, 5, 1)
    assert np.array_equal(np.diff(found[..., 0], axis=-1), np.ones((2, 6, 4)))
    assert found[1, 2, 0, 0] == z[1, 1, 0, 0]
    assert closed_loop.sequences(z[:, :, :3]).shape == (2, 3, 3, 1)


# --- alignment of time


def batch(z, reward, missed, lengths):
    tracks, time = reward.shape
    mask = np.arange(time) < np.array(lengths)[:, None]
    logvar, action = np.full_like(z, -9.0), np.zeros((tracks, time, 3), np.float32)
    parts = (z, logvar, action, reward, missed, np.zeros_like(mask), mask)
    return Batch(*map(jnp.asarray, parts))


def test_starts_leave_the_steps_and_the_state_after_them():
    times = continuations.start_times(np.array([100, 41]), 40)
    assert times.shape == (2, continuations.STARTS)
    assert (times[0, 0], times[0, -1]) == (0, 59)
    assert set(np.diff(times[0])) <= {3, 4}
    assert set(times[1]) == {0}  # state 40, the last one, follows step 39


def test_reality_pairs_the_state_after_a_step_with_the_reward_of_the_step():
    """Row t of a drive holds state t, the action taken there, and that action's reward."""
    time = np.tile(np.arange(50, dtype=np.float32), (2, 1))
    drives = LabelledDrives(
        batch(time[..., None], 100 + time, time.astype(int), [50, 50]), np.tile(200 + time[..., None], 3)
    )
    found = continuations.real(drives, time[..., None], np.array([[0, 7], [3, 9]]), 4)
    assert found.z[0, 1, :, 0].tolist() == [8, 9, 10, 11]
    assert found.reward[0, 1].tolist() == [107, 108, 109, 110]
    assert found.label is not None
    assert found.label[1, 0, :, 2].tolist() == [204, 205, 206, 207]
    assert found.missed[1, 0].tolist() == [3, 4, 5, 5]  # at most MAX_MISSED, as M is trained


def test_what_came_before_ends_with_the_start_state():
    time = np.tile(np.arange(50.0), (2, 1))[..., None]
    found = continuations.before(time, np.array([[9, 20], [2, 0]]), 4)
    assert found[0, 1, :, 0].tolist() == [17, 18, 19, 20]
    assert found[1, 0, :, 0].tolist() == [0, 0, 1, 2]


def test_probes_read_the_first_steps_with_the_drive_before_them(drives):
    """Reality, read as a continuation, is what is read from the whole drives."""
    result = compared(drives)
    z, times = np.asarray(drives.batch.mu), continuations.start_times(drives.mask.sum(axis=1), STEPS)
    expected = continuations.following(result.probe(probes.recent(z)), times + 1, STEPS)
    found = closed_loop.quantities(result, result.real)
    assert np.allclose(found["speed"], expected[..., 0], rtol=1e-4)


@pytest.fixture(scope="module")
def models():
    return [RNN(latent_size=LATENT, hidden_size=8, mixtures=2, key=jr.key(i)) for i in range(3)]


def a_controller():
    one = Controller(features=LATENT + 8)
    return one.with_parameters(jr.normal(jr.key(7), one.parameters.shape))


def a_drive():
    """Three drives whose actions are those of the controller of `models[0]` from the latents of a walk."""
    z = np.asarray(jr.normal(jr.key(1), (3, 30, LATENT)))
    return batch(z, np.zeros((3, 30), np.float32), np.zeros((3, 30), int), [30, 30, 30])


def test_a_dream_is_the_dynamics_from_the_states_of_the_drive(models):
    """The mean of the mixture leaves no chance, so each step can be repeated alone."""
    rules = Rules(temperature=1.0, stuck_steps=0, action_repeat=2, sampling="mean")
    drives = a_drive()._replace(logvar=jnp.full((3, 30, LATENT), -60.0))
    dream, times = Dream([models[1]], models[0], rules, 50), np.array([[0, 9], [4, 5], [11, 2]])
    found = continuations.dreamt(dream, a_controller(), drives, times, 6, jr.key(2))
    assert found.z.shape == (3, 2, 6, LATENT)
    for track, start in ((0, 1), (2, 0), (1, 0)):
        time = int(times[track, start])
        memories = []
        for model in (models[1], models[0]):
            past = rnn.unroll(
                model, drives.mu[track : track + 1, :time], drives.action[track : track + 1, :time]
            )
            memories.append(type(past)(*(leaf[-1] for leaf in past)))
        z = drives.mu[track : track + 1, time]
        state = State(z, z, *memories)
        for step in range(6):
            action = a_controller()(state.z[0], state.watched.hidden[0])[None]
            noise = mdn.draw_noise(jr.key(0), (1, LATENT), 2)
            state, outcome = dynamics.step(dream.simulations[0], state, action, noise)
            assert np.allclose(found.z[track, start, step], state.z[0], atol=1e-4)
            assert found.reward[track, start, step] == pytest.approx(float(outcome.reward[0]), abs=1e-4)
            assert found.missed[track, start, step] == pytest.approx(float(outcome.missed[0]), abs=1e-4)


def test_simulators_take_turns_and_the_starts_keep_their_places(models):
    rules = Rules(temperature=1.0, stuck_steps=0, action_repeat=2, sampling="mean")
    drives, times = a_drive()._replace(logvar=jnp.full((3, 30, LATENT), -60.0)), np.tile([5, 6, 7], (3, 1))

    def dreamt(simulators):
        dream = Dream(simulators, models[0], rules, 50)
        return continuations.dreamt(dream, a_controller(), drives, times, 4, jr.key(2)).z

    both, first, second = dreamt(models[1:]), dreamt(models[1:2]), dreamt(models[2:])
    assert np.allclose(both[:, [0, 2]], first[:, [0, 2]], atol=1e-5)
    assert np.allclose(both[:, 1], second[:, 1], atol=1e-5)
    assert not np.allclose(both[:, 1], first[:, 1], atol=1e-2)


# --- the whole comparison


def labels_of(z):
    return OFFSET + SCALE * (z @ WEIGHT)


def latents_of(labels):
    """Latents from which the labels are read; three dimensions of six suffice."""
    return (labels - OFFSET) / SCALE @ np.linalg.pinv(WEIGHT)


@pytest.fixture(scope="module")
def drives():
    """Drives whose labels are linear in z."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=(TRACKS, TIME, LATENT)).cumsum(axis=1) / 8
    z += rng.normal(size=z.shape) / 2
    reward = (2 + rng.normal(size=(TRACKS, TIME))).astype(np.float32)
    missed = (rng.random((TRACKS, TIME)) < 0.01).astype(int)
    return LabelledDrives(batch(z.astype(np.float32), reward, missed, [TIME] * TRACKS), labels_of(z))


def compared(drives, change=lambda world: world, shift=0):
    """Reality against reality from `shift` steps later, changed."""
    z, mask = np.asarray(drives.batch.mu), drives.mask
    times = continuations.start_times(mask.sum(axis=1), STEPS + shift)
    real = continuations.real(drives, z, times, STEPS)
    dream = change(continuations.real(drives, z, times + shift, STEPS)._replace(label=None))
    past = continuations.before(z, times, max(probes.LAGS))
    return Compared(dream, real, past, cross_fitted(probes.recent(z), drives.label, mask), {})


def table(result):
    rows = closed_loop.rows(result, window=WINDOW, timing=TIMING, seed=1)
    return {(row["quantity"], row["series"], row["steps"]): row for row in rows}


def test_a_dream_that_is_reality_a_little_later_does_not_drift(drives):
    rows = table(compared(drives, shift=3))
    for steps in range(WINDOW, STEPS + 1, WINDOW):
        for feature in two_sample.FEATURES:
            assert rows["auc", feature, steps]["mean"] == pytest.approx(0.5, abs=0.06)
        for quantity in ("speed", "curvature", "grass", "reward", "missed"):
            dream, real = (rows[quantity, series, steps] for series in ("dream", "real"))
            assert dream["low"] <= real["high"]
            assert real["low"] <= dream["high"]


def test_a_dream_that_is_a_fifth_faster_shows_in_the_speed_alone(drives):
    def faster(world):
        labels = labels_of(world.z)
        gain = np.stack([0.2 * labels[..., 0], *[np.zeros(labels.shape[:-1])] * 2], axis=-1)
        return world._replace(z=world.z + latents_of(OFFSET + gain))

    rows = table(compared(drives, faster))
    for steps in range(WINDOW, STEPS + 1, WINDOW):
        speed = {series: rows["speed", series, steps] for series in ("dream", "real", "game", "difference")}
        assert speed["dream"]["mean"] == pytest.approx(1.2 * speed["real"]["mean"], rel=0.01)
        assert speed["game"]["mean"] == pytest.approx(speed["real"]["mean"], rel=0.01)
        assert speed["difference"]["mean"] == pytest.approx(0.2 * speed["real"]["mean"], rel=0.05)
        assert speed["difference"]["low"] > 0
        assert rows["auc", "level", steps]["mean"] > 0.8
        for quantity in ("curvature", "grass"):
            found = rows[quantity, "difference", steps]["mean"]
            assert abs(found) < 0.02 * abs(rows[quantity, "real", steps]["mean"])


def test_a_difference_in_one_window_is_found_there(drives):
    def changed(world):
        world.reward[:, :, 20:30] += 0.5
        world.missed[:, :, 30:] += 0.25
        return world

    rows = table(compared(drives, changed))
    for quantity, expected in {"reward": [0, 0, 0.5, 0], "missed": [0, 0, 0, 0.25]}.items():
        found = [rows[quantity, "difference", steps]["mean"] for steps in (10, 20, 30, 40)]
        assert found == pytest.approx(expected, abs=1e-5)


def test_windows_lie_at_the_seconds_of_the_drive(drives):
    rows = closed_loop.rows(compared(drives), window=WINDOW, timing=TIMING, seed=1)
    seconds = {row["steps"]: row["seconds"] for row in rows}
    assert seconds == {10: 0.2, 20: 0.6, 30: 1.0, 40: 1.4}  # 25 steps per second
    assert len(rows) == 4 * (5 * 3 + 3 + 2)
    assert closed_loop.rows(compared(drives), window=WINDOW, timing=TIMING, seed=1) == rows


def test_charts_and_the_plot_of_dvc_show_every_quantity(drives):
    rows = closed_loop.rows(compared(drives), window=WINDOW, timing=TIMING, seed=1)
    quantities = {row["quantity"] for row in rows}
    text = (ROOT / ".dvc/plots/dream_and_reality.json").read_text()
    template = json.loads(text)
    assert quantities == {*charts.CLOSED_LOOP, "auc"} == set(template["facet"]["sort"])
    derived = {step["as"] for step in template["transform"] if "as" in step}
    used = set(re.findall(r"datum\.(\w+)", text)) | set(re.findall(r'"field": "(\w+)"', text))
    assert used - derived - {"rev"} <= set(rows[0])
    shown = set(template["spec"]["encoding"]["color"]["scale"]["domain"])
    assert shown == {row["series"] for row in rows} - {"difference", "game"}


def test_an_interval_covers_the_mean_of_the_tracks():
    rng, weights = np.random.default_rng(0), closed_loop.resampled(40, 0)
    covered = []
    for _ in range(200):
        found = closed_loop.mean_interval(rng.normal(loc=3.0, size=40), weights)
        covered.append(found["low"] < 3.0 < found["high"])
        assert found["low"] < found["mean"] < found["high"]
    assert 0.88 < np.mean(covered) < 0.99


def test_a_real_agent_is_compared_from_end_to_end(models, drives):
    z = drives.batch.mu
    known = LabelledDrives(drives.batch._replace(action=jnp.full((*z.shape[:2], 3), 0.5)), drives.label)
    rules = Rules(
        temperature=1.0, stuck_steps=0, action_repeat=2, sampling="denoised", encoder_variance=(0.1,) * LATENT
    )
    dream = Dream(models[1:], models[0], rules, 50)
    found = closed_loop.compare(known, dream, a_controller(), STEPS, jr.key(0))
    assert found.explained == pytest.approx({"speed": 1, "curvature": 1, "grass": 1}, abs=0.01)
    assert found.dream.z.shape == found.real.z.shape == (TRACKS, continuations.STARTS, STEPS, LATENT)
    rows = table(found)
    assert rows["auc", "change", STEPS]["mean"] > 0.9  # an untrained simulator
    again = closed_loop.compare(known, dream, a_controller(), STEPS, jr.key(0))
    assert np.array_equal(again.dream.z, found.dream.z)


# --- drives


class Drives(Shards):
    """Six drives of round r0 on the tracks 0 to 5, of 30, 31, ... steps, and a mirrored one."""

    def __init__(self):
        self.folder = Path("data/latents/r0")

    def kept(self, *, validation=None):
        records = [Record(i, i, "r0", 30 + i, 0.0, 0.0, False) for i in range(6)]
        mirrored = Record(6, 3, "r0", 90, 0.0, 0.0, False, mirrored=True)
        return [*records, mirrored, Record(7, 3, "init", 90, 0.0, 0.0, False)]


def test_own_drives_are_long_and_by_the_agent_alone():
    found = continuations.own_records(Drives(), "r0", [0, 3, 5], 31)
    assert [record.seed for record in found] == [3, 5]
    with pytest.raises(BadInput, match=r"r0: found 1 drives by the agent itself with more than 33 steps"):
        continuations.own_records(Drives(), "r0", [0, 3, 5], 33)
