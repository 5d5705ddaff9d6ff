from dataclasses import replace

import numpy as np
import pytest

from wm.search.cma_es import Schedule, maximise

SCHEDULE = Schedule(
    population=16, generations=80, sigma0=0.5, max_std=10.0, final_std=10.0, decay_start=0.5, diagonal=True
)


def sphere(generation, candidates):
    return -((candidates - 1.5) ** 2).sum(axis=1)


@pytest.mark.parametrize("diagonal", [True, False])
def test_the_maximum_of_a_sphere_is_found(diagonal):
    schedule = replace(SCHEDULE, diagonal=diagonal)
    *_, last = maximise(sphere, np.zeros(8), schedule, seed=1)
    assert np.allclose(last.mean, 1.5, atol=0.05)
    assert last.number == 79


def test_the_seed_determines_the_search():
    runs = [
        [generation.mean for generation in maximise(sphere, np.zeros(8), SCHEDULE, seed=seed)]
        for seed in (5, 5, 6)
    ]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_numpys_global_generator_is_not_used():
    before = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    list(maximise(sphere, np.zeros(8), SCHEDULE, seed=5))
    assert (np.random.get_state(legacy=False)["state"]["key"] == before).all()  # noqa: NPY002


def test_a_candidate_without_a_finite_fitness_is_ranked_worst():
    def sometimes_nan(generation, candidates):
        values = sphere(generation, candidates)
        return np.where(np.arange(len(values)) == 0, np.nan, values)

    *_, last = maximise(sometimes_nan, np.zeros(8), SCHEDULE, seed=1)
    assert np.allclose(last.mean, 1.5, atol=0.05)


def test_a_signals_file_in_the_working_directory_is_not_obeyed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cma_signals.in").write_text("{'ftarget': 1e9, 'maxiter': 1}")
    assert len(list(maximise(sphere, np.zeros(8), SCHEDULE, seed=1))) == 80


def test_the_bound_narrows_the_search_even_if_the_fitness_is_noise():
    rng = np.random.default_rng(0)
    spreads = []

    def noise(generation, candidates):
        spreads.append(candidates.std(axis=0).max())
        return rng.normal(size=len(candidates))

    schedule = replace(SCHEDULE, population=64, max_std=0.4, final_std=0.01)
    list(maximise(noise, np.zeros(8), schedule, seed=1))
    assert schedule.bound(40) == pytest.approx(0.4)
    assert schedule.bound(60) == pytest.approx((0.4 * 0.01) ** 0.5)
    assert max(spreads[:41]) < 1.4 * 0.4
    assert np.mean(spreads[30:41]) > 0.2
    assert max(spreads[-3:]) < 1.4 * schedule.bound(77)


def test_the_librarys_warnings_do_not_reach_the_user(recwarn):
    """It warns of long steps, which a linear fitness under a narrow bound causes."""
    narrow = replace(SCHEDULE, population=64, generations=40, sigma0=0.3, max_std=0.03, final_std=0.03)
    list(maximise(lambda _, candidates: 1000 * candidates[:, -1], np.zeros(195), narrow, seed=1))
    assert [str(warning.message) for warning in recwarn] == []
