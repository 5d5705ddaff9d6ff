from stages import rank


def rows(name, *scores):
    """A round's controllers with their dream scores: two snapshots and a perturbed copy of the last."""
    names = ("snapshot_1", "snapshot_14", "noise_0.5")
    return [
        {"round": name, "controller": which, "dream": dream, "real": real}
        for which, (dream, real) in zip(names, scores, strict=True)
    ]


def test_the_dream_chooses_among_final_controllers_whatever_reality_says():
    early, late = (700.0, 900.0), (950.0, 900.0)
    found = [
        *rows("r0", late, (840.0, 910.0), late),
        *rows("r1", early, (870.0, 300.0), early),
        *rows("r2", late, (835.0, 250.0), late),
    ]
    assert rank.chosen(found) == "r1"
