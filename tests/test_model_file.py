import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.runtime import model_file
from wm.runtime.model_header import BadModelFile


@pytest.fixture
def model():
    return RNN(latent_size=4, hidden_size=8, mixtures=2, key=jr.key(0))


@pytest.fixture
def path(tmp_path, model):
    model_file.save(tmp_path / "rnn.eqx", model)
    return tmp_path / "rnn.eqx"


def test_a_loaded_model_is_the_saved_one(path, model):
    assert eqx.tree_equal(model_file.load(path, RNN), model)


def test_loading_compiles_no_program_for_the_leaves(path, model):
    """jnp.isfinite would compile one for every shape: two seconds for an agent, in every worker process."""
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration_secs, **_: compiled.append(event)
    )
    model_file.load(path, RNN)
    jax.monitoring.clear_event_listeners()
    assert len([name for name in compiled if "backend_compile" in name]) < len(jax.tree.leaves(model)) // 2


def test_same_model_same_bytes(path, model, tmp_path):
    model_file.save(tmp_path / "again.eqx", model)
    assert (tmp_path / "again.eqx").read_bytes() == path.read_bytes()


def test_a_model_of_another_kind_is_refused(path):
    with pytest.raises(BadModelFile, match="kind: found RNN, expected Controller"):
        model_file.load(path, Controller)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(BadModelFile, match="not found"):
        model_file.load(tmp_path / "none.eqx", RNN)
    (tmp_path / "foreign.eqx").write_bytes(b"\x80\x04 no model")
    with pytest.raises(BadModelFile, match="not a JSON header"):
        model_file.load(tmp_path / "foreign.eqx", RNN)


@pytest.mark.parametrize("cut", [1, 100, 2000])
def test_truncation_is_noticed(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(BadModelFile, match="sha256"):
        model_file.load(path, RNN)


def test_a_flipped_bit_is_noticed(path):
    whole = bytearray(path.read_bytes())
    whole[-50] ^= 1
    path.write_bytes(bytes(whole))
    with pytest.raises(BadModelFile, match="sha256"):
        model_file.load(path, RNN)


def test_sizes_that_differ_from_the_leaves_are_refused(path):
    whole = path.read_bytes().replace(b'"hidden_size": 8', b'"hidden_size": 9')
    path.write_bytes(whole)
    with pytest.raises(BadModelFile, match="leaves"):
        model_file.load(path, RNN)


def test_nan_is_refused_by_the_leafs_name(tmp_path, model):
    broken = eqx.tree_at(lambda m: m.gate_bias, model, model.gate_bias.at[3].set(jnp.nan))
    model_file.save(tmp_path / "nan.eqx", broken)
    with pytest.raises(BadModelFile, match="gate_bias"):
        model_file.load(tmp_path / "nan.eqx", RNN)
