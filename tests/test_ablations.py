"""bench/ablations.py changes exactly the parameters that it is asked to change."""

import pytest

from bench import ablations, gap_causes, tables
from wm.errors import BadInput
from wm.params import check, file, profiles
from wm.params.file import PARAMS


@pytest.fixture
def params():
    return {"evolve": {"search": {"sigma0": 0.3}, "action_limits": {"gas": [0.0, 1.0]}}, "rounds": {}}


def test_a_setting_is_read_as_params_yaml_would_read_it(params):
    ablations.apply("evolve.search.sigma0=1e-1", params)
    ablations.apply("evolve.action_limits.gas=[0.5, 0.5]", params)
    assert params == {
        "evolve": {"search": {"sigma0": 0.1}, "action_limits": {"gas": [0.5, 0.5]}},
        "rounds": {},
    }


@pytest.mark.parametrize("setting", ["evolve.sigma0=1", "evolve=1", "evolve.search.sigma0.x=1", "nonsense"])
def test_an_unknown_parameter_is_refused(params, setting):
    with pytest.raises(BadInput, match="found no parameter"):
        ablations.apply(setting, params)


def test_development_tracks_are_not_evaluation_tracks():
    evaluated = file.read(ablations.ROOT / PARAMS)["evaluate"]
    tracks = range(ablations.FIRST_TRACK, ablations.FIRST_TRACK + 500)
    assert not set(tracks) & set(range(evaluated["seed"], evaluated["seed"] + evaluated["episodes"]))


def test_every_experiment_is_allowed_by_params_yaml():
    """Every experiment changes existing parameters to allowed values."""
    params = file.read(ablations.ROOT / PARAMS)
    for change in gap_causes.experiments(list(params["rounds"])):
        changed = file.read(ablations.ROOT / PARAMS)
        for setting in (*change.settings, "evolve.seed=3"):
            ablations.apply(setting, changed)
        assert changed != params
        check.check(changed)


def test_rows_in_the_table_are_not_measured_again(tmp_path):
    first, second = gap_causes.experiments(["r0", "r1"])[:2]
    table = tmp_path / "gap_causes.csv"
    assert not gap_causes.known(first, 1, table)
    settings = " ".join([*first.settings, "evolve.seed=1"])
    tables.append({"name": first.name, "changes": settings, "round": first.round}, table)
    assert gap_causes.known(first, 1, table)
    assert not gap_causes.known(first, 2, table)
    assert not gap_causes.known(second, 1, table)


def test_the_committed_table_has_every_experiment_with_three_seeds():
    rounds = list(profiles.content("best")["rounds"])
    missing = [
        (change.name, seed)
        for change in gap_causes.experiments(rounds)
        for seed in gap_causes.SEEDS
        if not gap_causes.known(change, seed, gap_causes.TABLE)
    ]
    assert missing == []
