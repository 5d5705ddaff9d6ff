import pytest

from wm.fidelity import ranking


@pytest.mark.parametrize(("last", "chosen"), [(835.0, "r1"), (859.0, "r1"), (861.0, "r2")])
def test_the_newest_final_controller_within_a_standard_error_of_the_best_is_chosen(last, chosen):
    scores = {"r0": 865.0, "r1": 870.0, "r2": last}
    rows = [{"round": name, "dream_mean": mean, "dream_mean_error": 10.0} for name, mean in scores.items()]
    assert ranking.chosen(rows) == chosen


def test_medians_and_means_of_the_dream_are_ranked_each_by_themselves():
    """The first ranks them as the track does, the second reverses all but one pair."""
    scores = [(100.0, 300.0, 10.0), (200.0, 400.0, 20.0), (300.0, 200.0, 30.0), (400.0, 100.0, 40.0)]
    rows = [{"dream": median, "dream_mean": mean, "real": real} for median, mean, real in scores]
    assert ranking.agreement(rows) == {
        "controllers": 4,
        "rank_correlation": 1.0,
        "rank_correlation_of_means": -0.8,
    }
