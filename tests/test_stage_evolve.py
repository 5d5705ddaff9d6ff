"""The stage evolve: which of its searches it keeps, and what it writes and refuses."""

import json
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from stages import evolve
from wm.data.episode import Record
from wm.dream.scoring import LatentRange
from wm.errors import BadInput
from wm.models.controller import Controller, Snapshots
from wm.models.rnn import RNN, Ensemble
from wm.models.rnn_files import RNNs
from wm.runtime import model_file
from wm.search import round_search
from wm.search.evolution import Evolved


@pytest.fixture
def inputs() -> round_search.Inputs:
    """Training drives of at most 200 steps, validation drives of at most 130; five features."""

    def kept(*, validation):
        return [Record(0, 0, "r0", 130 if validation else 200, 0.0, 0.0, False)]

    shards: Any = SimpleNamespace(folder="data/latents/init", kept=kept)
    sizes = {"latent_size": 2, "hidden_size": 3, "mixtures": 1, "key": jr.key(0)}
    return round_search.Inputs(shards, RNNs(RNN(**sizes), Ensemble(count=0, **sizes)), None)


def test_a_value_of_more_steps_than_a_drive_has_is_refused(inputs):
    message = r"evolve\.value_steps: found 130, expected less than 130, the length of the longest drive for"
    with pytest.raises(BadInput, match=message):
        inputs.check(130, 5, "evolve")
    inputs.check(129, 5, "evolve")


def test_more_components_than_features_are_refused(inputs):
    with pytest.raises(BadInput, match=r"evolve\.principal_components: found 6, expected at most 5"):
        inputs.check(100, 6, "evolve")


CASES = [
    ({0.1: 870.0, 0.5: 890.0}, 0.5),
    ({0.1: 890.0, 0.5: 879.0}, 0.1),
    ({0.1: 890.0, 0.5: 881.0}, 0.5),
    ({0.5: 881.0, 0.1: 890.0, 0.3: 885.0}, 0.5),
    ({0.5: 881.0, 0.1: 895.0, 0.3: 886.0}, 0.3),
]


@pytest.mark.parametrize(("means", "kept"), CASES)
def test_of_equally_good_searches_the_one_with_the_largest_off_track_share_is_kept(means, kept):
    scores = {
        share: round_search.DreamScore({"score": {"mean": mean, "sem": 10.0}}, [])
        for share, mean in means.items()
    }
    assert round_search.chosen_share(scores) == kept


def test_the_kept_search_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(evolve, "METRICS", tmp_path / "metrics/rounds")
    monkeypatch.setattr(evolve, "MODELS", tmp_path / "models/rounds")
    first = Controller(features=3)
    last = first.with_parameters(jnp.full(12, 0.5))
    real = LatentRange(jnp.zeros(2), jnp.ones(2))
    search = round_search.SearchResult(Evolved([{"number": 0, "best": 7.5}], [first, last]), real)
    searches = {"off_track_share": 0.5, "search_score": {"0.5": {"mean": 890.0, "sem": 10.0}}}
    evolve.write("r1", search, round_search.DreamScore({"score": 890.0}, [{"score": 880.0}]), searches)
    written = model_file.load(tmp_path / "models/rounds/r1/controller.eqx", Controller)
    assert np.unique(written.parameters).tolist() == [0.5]
    assert model_file.load(tmp_path / "models/rounds/r1/snapshots.eqx", Snapshots).count == 2
    assert json.loads((tmp_path / "metrics/rounds/r1/searches.json").read_text()) == searches
    assert json.loads((tmp_path / "metrics/rounds/r1/dream.json").read_text()) == {"score": 890.0}
    assert (tmp_path / "metrics/rounds/r1/dream.csv").read_text() == "score\n880.0\n"
    assert (tmp_path / "metrics/rounds/r1/evolve.csv").read_text() == "number,best\n0,7.5\n"
