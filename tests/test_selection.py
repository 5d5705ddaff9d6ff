import numpy as np
import pytest

from wm.search.selection import Estimate, equally_good, median_error


def test_candidates_within_one_standard_error_of_the_best_are_kept_in_their_order():
    scores = {"a": (880.0, 1.0), "b": (890.0, 10.0), "c": (879.9, 50.0), "d": (885.0, 0.0)}
    estimates = {name: Estimate(*score) for name, score in scores.items()}
    assert equally_good(estimates) == ["a", "b", "d"]


def test_only_the_error_of_the_best_counts():
    assert equally_good({1: Estimate(900.0, 0.0), 2: Estimate(899.0, 100.0)}) == [1]


def test_the_error_of_a_median_is_the_spread_of_medians_of_such_scores():
    """Nine drives in ten score about 930 points; one in ten fails and scores anything below 900."""
    rng = np.random.default_rng(1)

    def scores(n):
        return np.where(rng.random(n) < 0.1, rng.uniform(0, 900, n), rng.normal(930, 5, n))

    medians = [np.median(scores(300)) for _ in range(2000)]
    errors = [median_error(scores(300)) for _ in range(200)]
    assert np.mean(errors) == pytest.approx(np.std(medians), rel=0.1)


@pytest.mark.parametrize("scores", [np.full(300, 7.0), np.array([7.0])])
def test_scores_that_do_not_vary_have_a_median_without_error(scores):
    assert median_error(scores) == 0
