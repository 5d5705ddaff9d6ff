"""bench/levers.py changes what it is asked to, and nothing else."""

import pytest

from bench import hypotheses, levers, tables
from wm.errors import BadInput
from wm.params import check, file
from wm.params.file import PARAMS


@pytest.fixture
def params():
    return {"evolve": {"search": {"sigma0": 0.3}, "limits": {"gas": [0.0, 1.0]}}, "rounds": {}}


def test_a_change_is_read_as_params_yaml_would_read_it(params):
    levers.apply("evolve.search.sigma0=1e-1", params)
    levers.apply("evolve.limits.gas=[0.5, 0.5]", params)
    assert params == {"evolve": {"search": {"sigma0": 0.1}, "limits": {"gas": [0.5, 0.5]}}, "rounds": {}}


@pytest.mark.parametrize("change", ["evolve.sigma0=1", "evolve=1", "evolve.search.sigma0.x=1", "nonsense"])
def test_an_unknown_parameter_is_refused(params, change):
    with pytest.raises(BadInput, match="no such parameter"):
        levers.apply(change, params)


def test_development_tracks_are_not_those_of_the_evaluation():
    evaluated = file.read(levers.ROOT / PARAMS)["evaluate"]
    tracks = range(levers.FIRST_TRACK, levers.FIRST_TRACK + levers.TRACKS)
    assert not set(tracks) & set(range(evaluated["seed"], evaluated["seed"] + evaluated["episodes"]))


def test_lines_of_one_change_make_one_line_of_the_table(tmp_path):
    numbers = {"nll": 35.0, "reward_drift_20": 30.0, "dream": 890.0, "std": 20.0, "laps": 20, "lost": 1}
    for name, mean in [("a", 900.0), ("b", 500.0), ("a", 880.0)]:
        levers.append({"name": name, "round": "r3", "mean": mean, **numbers}, tmp_path / "levers.csv")
    first, second = tables.by_change(tables.rows(tmp_path / "levers.csv"))
    assert first[0] == "a"
    assert first[5:] == ["900 ± 20, 880 ± 20", "**890**", "20, 20", "1, 1"]
    assert second[6] == "**500**"


def test_every_experiment_is_one_that_params_yaml_allows():
    """Each changes parameters that there are, to values that they may have."""
    params = file.read(levers.ROOT / PARAMS)
    for experiment in hypotheses.experiments(list(params["rounds"])):
        changed = file.read(levers.ROOT / PARAMS)
        for change in (*experiment.changes, "evolve.seed=3"):
            levers.apply(change, changed)
        assert changed != params
        check.validate(changed)


def test_experiments_that_are_in_the_table_are_not_made_again(tmp_path):
    first, second = hypotheses.experiments(["r0", "r1"])[:2]
    table = tmp_path / "hypotheses.csv"
    assert not hypotheses.known(first, 1, table)
    row = {"name": first.name, "changes": " ".join([*first.changes, "evolve.seed=1"]), "round": first.round}
    levers.append(row, table)
    assert hypotheses.known(first, 1, table)
    assert not hypotheses.known(first, 2, table)
    assert not hypotheses.known(second, 1, table)
