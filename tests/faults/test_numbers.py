"""Numbers that go wrong while work runs: they stop it, or are counted."""

import json

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import small

from wm.agent import summary
from wm.dream.dynamics import Dream, Rules
from wm.dream.scoring import Episodes, LatentRange, whole_episodes, with_strays
from wm.dream.starts import StartFrames, Starts
from wm.dream.unroll import unroll
from wm.models.controller import Controller
from wm.models.rnn import RNN, Ensemble
from wm.models.vae import VAE
from wm.runtime import model_file
from wm.search import cma_es, round_search
from wm.search.evolution import Evolved
from wm.search.round_search import SearchResult
from wm.spec import LAP_POINTS


def last_line(said):
    assert "Traceback" not in said
    return said.splitlines()[-1]


def test_a_loss_that_is_not_finite_stops_the_stage_and_names_an_existing_checkpoint(project, tmp_path):
    folder = small.copy(project, tmp_path, without="train_vae")
    small.params(folder, train_vae={"learning_rate": 1e30})
    code, said = small.run(folder, small.command("train_vae", eager=True))
    line = last_line(said)
    assert code == 1
    assert line.startswith("error: train_vae: step ")
    assert "the loss is no longer finite" in line
    step, named = int(line.split()[3].rstrip(":")), line.split()[-1]
    assert small.checkpoint_step(folder / named) == step > 0
    assert small.checksums(folder, "train_vae") == {}


def spoil(path, kind):
    """Weights are the largest finite floats, so outputs overflow."""
    model_file.save(path, jax.tree.map(lambda leaf: leaf * 1e30, model_file.load(path, kind)))


def test_dreams_that_are_not_finite_end_evolution(project, tmp_path):
    folder = small.copy(project, tmp_path, without="evolve")
    spoil(folder / "models" / "rounds" / "r0" / "simulators.eqx", Ensemble)
    code, said = small.run(folder, small.command("evolve"))
    assert code == 1
    assert (
        last_line(said)
        == "error: generation 0: found 12 of 12 fitness values that are not finite, expected at most a tenth."
        " See M's loss in train_rnn.csv."
    )
    assert small.checksums(folder, "evolve") == {}


def test_an_action_that_is_not_finite_ends_the_stage_and_not_the_drive(project, tmp_path):
    folder = small.copy(project, tmp_path, without="evaluate")
    spoil(folder / "models" / "vae.eqx", VAE)
    code, said = small.run(folder, small.command("evaluate"))
    assert code == 1
    assert last_line(said).startswith("error: RealTrack.step: action: found [nan, nan, nan]")
    assert small.checksums(folder, "evaluate") == {}


def test_a_candidate_without_a_finite_fitness_is_counted_and_not_averaged():
    search = cma_es.Schedule(
        population=16, generations=3, sigma0=0.5, max_std=1.0, final_std=1.0, decay_start=0.5, diagonal=True
    )

    def broken(generation, candidates):
        return np.where(np.arange(16) == 4, [np.nan, np.inf, -np.inf][generation], np.arange(16.0))

    for one in cma_es.maximise(broken, np.zeros(4), search, seed=1):
        assert one.broken == 1
        assert one.mean_fitness == pytest.approx((sum(range(16)) - 4) / 15)
        assert one.best_fitness == 15


def test_evolve_csv_counts_the_broken(project):
    first, *rows = (project / "metrics" / "rounds" / "r0" / "evolve.csv").read_text().splitlines()
    assert [row.split(",")[first.split(",").index("broken")] for row in rows] == ["0"] * 40


RULES = Rules(temperature=1.0, stuck_steps=0, action_repeat=40)


@pytest.fixture(scope="module")
def dreams():
    """The arguments of `whole_episodes`."""
    model = RNN(latent_size=4, hidden_size=8, mixtures=2, key=jr.key(0))
    first = StartFrames(jr.normal(jr.key(1), (5, 4)), jnp.full((5, 4), -1.0), jnp.zeros(5))
    return Dream([model], model, RULES, 50), Controller(features=12), first, jr.key(2)


def share(dreams, low, high):
    episodes, strays = with_strays(*dreams, real=LatentRange(jnp.full(4, low), jnp.full(4, high)))
    assert np.allclose(episodes.score, whole_episodes(*dreams).score)
    return float(strays)


def test_strays_are_the_steps_outside_of_the_range(dreams):
    assert share(dreams, -1e6, 1e6) == 0
    assert share(dreams, 1e6, 2e6) == 1
    dream, controller, first, _ = dreams
    starts = Starts(first.mu, first.logvar, *[dream.watcher.start(5)] * 2)
    population = jax.tree.map(lambda leaf: leaf[None], controller)
    key = jr.fold_in(jr.key(2), 0)
    z = unroll(dream.simulations[0], population, starts, key, steps=24, observe=lambda z: z).observed
    assert z.shape == (24, 1, 5, 4)
    wanted = np.any(np.abs(np.asarray(z)) > 1.5, axis=-1).mean()
    assert 0.05 < wanted < 0.95
    assert share(dreams, -1.5, 1.5) == pytest.approx(wanted, abs=1e-6)


def test_steps_after_the_lap_do_not_stray(dreams):
    dream, controller, first, key = dreams
    all_tiles_but_one_step = first._replace(warm_up_reward=jnp.full(5, LAP_POINTS + 1e6))
    drawn = dream, controller, all_tiles_but_one_step, key
    assert np.asarray(whole_episodes(*drawn).frames).tolist() == [90] * 5  # one step, and the warm-up
    assert share(drawn, 1e6, 2e6) == 1


def test_no_number_is_outside_of_every_range():
    assert LatentRange(jnp.full(2, -1e30), jnp.full(2, 1e30)).excludes(jnp.array([0.0, jnp.nan]))


def test_the_range_is_that_of_the_starts_twice_as_wide(dreams):
    model = dreams[0].watcher
    mu = jnp.array([[0.0, 5.0], [2.0, 5.0]])
    logvar = jnp.full((2, 2), 2 * jnp.log(0.1))
    found = LatentRange.of(Starts(mu, logvar, model.start(2), model.start(2)))
    assert np.allclose(found.low, [1 - 2.6, 5 - 0.6], atol=1e-5)
    assert np.allclose(found.high, [1 + 2.6, 5 + 0.6], atol=1e-5)


def test_dream_json_reports_strays(project):
    found = json.loads((project / "metrics" / "rounds" / "r0" / "dream.json").read_text())
    assert 0 <= found["strays"] <= 1


@pytest.mark.parametrize(("points", "impossible"), [(summary.IMPOSSIBLE - 1, False), (951.0, True)])
def test_more_than_950_points_are_exploitation(dreams, monkeypatch, points, impossible):
    ones = jnp.ones(3)
    dreamt = Episodes(points * ones, 900 * ones.astype(int), ones > 0, 0 * ones, 0 * ones)
    frames = StartFrames(jnp.zeros((3, 4)), jnp.zeros((3, 4)), jnp.zeros(3))
    monkeypatch.setattr(round_search, "with_strays", lambda *_: (dreamt, 0.25))
    search = SearchResult(Evolved([], [Controller(features=12)]), LatentRange(jnp.zeros(4), jnp.ones(4)))
    score = round_search.dream_score(dreams[0], search, frames, jr.key(0)).summary
    assert score["impossible"] is impossible
    assert score["strays"] == 0.25
