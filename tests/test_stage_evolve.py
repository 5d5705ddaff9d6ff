"""The stage evolve: which of its searches it keeps, and what it writes and refuses."""

import json
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from stages import evolve
from wm.data.episode import Record
from wm.dream.scoring import LatentRange
from wm.errors import BadInput
from wm.models.controller import Controller
from wm.params import file
from wm.runtime import model_file
from wm.search.evolution import Evolved


@pytest.fixture(scope="module")
def params():
    return file.load()


@pytest.fixture
def shards() -> Any:
    """Training drives of at most 200 steps, validation drives of at most 130."""

    def kept(*, validation):
        return [Record(0, 0, "r0", 130 if validation else 200, 0.0, 0.0, False)]

    return SimpleNamespace(folder="data/latents/init", kept=kept)


def test_a_value_of_more_steps_than_a_drive_has_is_refused(params, shards):
    settings = params.evolve.model_copy(update={"value_steps": 130})
    message = r"evolve\.value_steps: found 130, expected less than 130, the length .* in data/latents/init"
    with pytest.raises(BadInput, match=message):
        evolve.check(settings, shards, features=288)
    evolve.check(settings.model_copy(update={"value_steps": 129}), shards, features=288)


def test_more_components_than_features_are_refused(params, shards):
    with pytest.raises(BadInput, match=r"evolve\.principal_components: found 64, expected at most 5"):
        evolve.check(params.evolve, shards, features=5)


CASES = [
    ({0.1: 870.0, 0.5: 890.0}, 0.5),
    ({0.1: 890.0, 0.5: 879.0}, 0.1),
    ({0.1: 890.0, 0.5: 881.0}, 0.5),
    ({0.5: 881.0, 0.1: 890.0, 0.3: 885.0}, 0.5),
    ({0.5: 881.0, 0.1: 895.0, 0.3: 886.0}, 0.3),
]


@pytest.mark.parametrize(("means", "share"), CASES)
def test_of_equally_good_searches_the_one_with_the_largest_off_track_share_is_kept(
    means, share, tmp_path, monkeypatch
):
    monkeypatch.setattr(evolve, "METRICS", tmp_path / "metrics")
    monkeypatch.setattr(evolve, "MODELS", tmp_path / "models")
    first = Controller(features=3)
    searches = {
        name: evolve.Search(
            Evolved([{"number": 0, "best": name}], [first, first.with_parameters(jnp.full(12, name))]),
            LatentRange(jnp.zeros(2), jnp.ones(2)),
            {"score": {"mean": mean, "sem": 10.0}},
        )
        for name, mean in means.items()
    }
    evolve.write("r1", searches, {"score": "of the one kept"})
    kept = model_file.load(tmp_path / "models/r1/controller.eqx", Controller)
    assert np.unique(kept.parameters).tolist() == [np.float32(share)]
    dreams = {str(name): {"mean": mean, "sem": 10.0} for name, mean in means.items()}
    written = json.loads((tmp_path / "metrics/r1/searches.json").read_text())
    assert written == {"trouble_share": share, "dream": dreams}
    assert json.loads((tmp_path / "metrics/r1/dream.json").read_text()) == {"score": "of the one kept"}
    assert (tmp_path / "metrics/r1/evolve.csv").read_text().splitlines()[1] == f"0,{share}"
