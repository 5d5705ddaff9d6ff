"""The RNNs in a folder: which of them generate dreams, and which do not fit together."""

from pathlib import Path
from typing import Any

import jax.random as jr
import numpy as np
import pytest

from wm.models import rnn_files
from wm.models.rnn import RNN, Ensemble
from wm.models.rnn_files import RNNs
from wm.runtime import model_file
from wm.runtime.model_header import BadModelFile

SIZES: dict[str, Any] = {"latent_size": 4, "hidden_size": 8, "mixtures": 2}


def saved(folder: Path, count: int, hidden_size: int = 8) -> RNNs:
    sizes: dict[str, Any] = {**SIZES, "hidden_size": hidden_size}
    rnns = RNNs(RNN(**SIZES, key=jr.key(0)), Ensemble(count=count, **sizes, key=jr.key(1)))
    rnns.save(folder)
    return rnns


def test_the_ensemble_and_the_agents_own_rnn_generate_the_dreams(tmp_path):
    rnns = saved(tmp_path, 2)
    read = rnn_files.read(tmp_path)
    for found, expected in zip(read.simulators, [*rnns.ensemble.members, rnns.own], strict=True):
        assert np.array_equal(found.hidden_weight, expected.hidden_weight)
    assert np.array_equal(read.own.hidden_weight, rnns.own.hidden_weight)
    assert [path.name for path in rnn_files.paths(tmp_path)] == ["rnn.eqx", "simulators.eqx"]


def test_without_an_ensemble_the_agents_own_rnn_generates_the_dreams(tmp_path):
    saved(tmp_path, 0)
    read = rnn_files.read(tmp_path)
    assert read.simulators == [read.own]
    assert rnn_files.beside(read.own, tmp_path).simulators[0] is read.own


def test_an_ensemble_of_other_sizes_is_refused(tmp_path):
    saved(tmp_path, 1, hidden_size=9)
    with pytest.raises(BadModelFile, match=r"simulators\.eqx: hidden_size: found 9, expected 8"):
        rnn_files.read(tmp_path)
    model_file.load(tmp_path / "simulators.eqx", Ensemble)
