import pytest

from wm.fidelity import ranking


def rows(name, *scores):
    """A round's controllers with their dream scores, each with an error of 10: two snapshots and a
    perturbed copy of the last."""
    names = ("snapshot_1", "snapshot_14", "noise_0.5")
    return [
        {"round": name, "controller": which, "dream": dream, "dream_error": 10.0, "real": real}
        for which, (dream, real) in zip(names, scores, strict=True)
    ]


@pytest.mark.parametrize(("last", "chosen"), [(835.0, "r1"), (859.0, "r1"), (861.0, "r2")])
def test_the_newest_final_controller_within_a_standard_error_of_the_best_is_chosen(last, chosen):
    """Neither real scores nor earlier snapshots affect the choice."""
    early, late = (700.0, 900.0), (950.0, 900.0)
    found = [
        *rows("r0", late, (865.0, 910.0), late),
        *rows("r1", early, (870.0, 300.0), early),
        *rows("r2", late, (last, 250.0), late),
    ]
    assert ranking.chosen(found) == chosen


def test_medians_and_means_of_the_dream_are_ranked_each_by_themselves():
    """The first ranks them as the track does, the second reverses all but one pair."""
    scores = [(100.0, 300.0, 10.0), (200.0, 400.0, 20.0), (300.0, 200.0, 30.0), (400.0, 100.0, 40.0)]
    found = [
        {
            "round": f"r{i}",
            "controller": "snapshot_1",
            "dream": median,
            "dream_error": 1.0,
            "dream_mean": mean,
            "real": real,
        }
        for i, (median, mean, real) in enumerate(scores)
    ]
    assert ranking.ranks(found) == {
        "chosen": "r3",
        "controllers": 4,
        "rank_correlation": 1.0,
        "rank_correlation_of_means": -0.8,
    }
