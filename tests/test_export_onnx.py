"""The ONNX files against the models that they were made from, along a real drive."""

import json
import shutil
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.agent.folder import AgentFolder
from wm.errors import BadInput
from wm.export import onnx as onnx_export
from wm.export.onnx_graph import IR_VERSION, OPSET
from wm.models import rnn, vae
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.models.vae import VAE
from wm.runtime import files, model_file
from wm.spec import FPS
from wm.track import rollout
from wm.track.lane_follower import LaneFollower, LaneStyle
from wm.track.real_track import RealTrack

VAE_FILE = Path(__file__).parents[1] / "models" / "pretrained" / "vae.eqx"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An agent of the published sizes: its V, and M and C with large random weights."""
    folder, rng = tmp_path_factory.mktemp("agent"), np.random.default_rng(1)
    model = RNN(latent_size=32, hidden_size=256, mixtures=5, key=jr.key(0))
    drawn = [rng.normal(0, 0.2, leaf.shape).astype(np.float32) for leaf in jax.tree.leaves(model)]
    model = jax.tree.unflatten(jax.tree.structure(model), map(jnp.asarray, drawn))
    controller = Controller(features=288)
    parameters = jnp.asarray(rng.normal(0, 0.2, controller.parameters.shape), jnp.float32)
    shutil.copyfile(VAE_FILE, folder / "vae.eqx")
    model_file.save(folder / "rnn.eqx", model)
    model_file.save(folder / "controller.eqx", controller.with_parameters(parameters))
    files.write_json(folder / "environment.json", {"action_repeat": 20, "warm_up_frames": 50})
    return folder


@pytest.fixture(scope="module")
def exported(folder):
    return onnx_export.export(folder, folder)[0].parent


@pytest.fixture(scope="module")
def agent(folder):
    return AgentFolder(folder).agent()


@pytest.fixture(scope="module")
def drive():
    """A scripted driver on a real track, in coarse steps."""
    rng = np.random.default_rng(7)
    driver = LaneFollower(LaneStyle.random(rng), rng, step_seconds=20 / FPS)
    return rollout.drive_alone(RealTrack(20, 50), driver, 7, "lane_follower")


def run(path, **inputs) -> dict[str, Any]:
    """The outputs of onnxruntime by name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def assert_same(found, expected, share=1e-5):
    """Equal within this share of the largest absolute value of `expected`."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= share * np.abs(expected).max()


def test_the_encoder_agrees_with_v(exported, agent, drive):
    frames = drive.observations["frame"]
    found = run(exported / "encoder.onnx", frame=frames)
    mu, logvar = vae.encode(agent.vae, jnp.asarray(frames))
    assert_same(found["mu"], mu)
    assert_same(found["logvar"], logvar)


def test_the_decoder_agrees_with_v(exported, agent, drive):
    z, _ = vae.encode(agent.vae, jnp.asarray(drive.observations["frame"]))
    assert_same(run(exported / "decoder.onnx", z=np.asarray(z))["frame"], vae.decode(agent.vae, z))


def test_steps_of_m_agree_along_a_real_drive(exported, agent, drive):
    """The state that ONNX carries along a drive, and its predictions: rounding adds up step by step."""
    z, _ = vae.encode(agent.vae, jnp.asarray(drive.observations["frame"]))
    memory = rnn.unroll(agent.rnn, z[None], jnp.asarray(drive.actions)[None])
    predicted = agent.rnn.predict(memory.hidden[:, 0])
    hidden = cell = np.zeros((1, agent.rnn.hidden_size), np.float32)
    path, steps = exported / "rnn_step.onnx", []
    for latent, action in zip(np.asarray(z), drive.actions, strict=True):
        steps.append(run(path, z=latent[None], action=action[None], hidden=hidden, cell=cell))
        hidden, cell = steps[-1]["hidden_after"], steps[-1]["cell_after"]
    found = {name: np.concatenate([step[name] for step in steps]) for name in steps[0]}
    share = 1e-6 * len(steps)
    assert_same(found["hidden_after"], memory.hidden[:, 0], share)
    assert_same(found["cell_after"], memory.cell[:, 0], share)
    for name, value in {**predicted.mixture._asdict(), **predicted._asdict()}.items():
        if name != "mixture":
            assert_same(found[name], value, share)


def test_the_controller_agrees_with_c(exported, agent, drive):
    z, _ = vae.encode(agent.vae, jnp.asarray(drive.observations["frame"]))
    hidden = rnn.unroll(agent.rnn, z[None], jnp.asarray(drive.actions)[None]).hidden[:, 0]
    expected = np.asarray(jax.vmap(agent.controller)(z, hidden))
    found = run(exported / "controller.onnx", z=np.asarray(z), hidden=np.asarray(hidden))["action"]
    assert_same(found, expected)
    assert np.ptp(expected, axis=0).max() > 0.5


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An agent of other sizes, limits and pedals than the published one, with a joint, too narrow mixture."""
    folder = tmp_path_factory.mktemp("small")
    model = RNN(latent_size=3, hidden_size=5, mixtures=2, joint=True, key=jr.key(1))
    narrow = model.head_bias.at[2 + 2 * 3 : 2 + 2 * 2 * 3].set(-9.0)
    controller = Controller(features=8, limits=((-0.5, 0.5), (0.25, 0.5), (0.0, 1.0)), pedals="tanh")
    parameters = jnp.asarray(3 * np.random.default_rng(2).normal(size=27), jnp.float32)
    model_file.save(
        folder / "vae.eqx",
        VAE(latent_size=3, widths=(4, 8, 6), tones=[(0, 0), (90, 30), (120, 200), (255, 255)], key=jr.key(0)),
    )
    model_file.save(folder / "rnn.eqx", eqx.tree_at(lambda m: m.head_bias, model, narrow))
    model_file.save(folder / "controller.eqx", controller.with_parameters(parameters))
    files.write_json(folder / "environment.json", {"action_repeat": 7, "warm_up_frames": 9})
    return folder


def test_an_agent_of_other_sizes(small):
    onnx_export.export(small, small)
    agent = AgentFolder(small).agent()
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    mu, _ = vae.encode(agent.vae, jnp.asarray(frames))
    assert_same(run(small / "encoder.onnx", frame=frames)["mu"], mu)
    assert_same(run(small / "decoder.onnx", z=np.asarray(mu))["frame"], vae.decode(agent.vae, mu))
    z, hidden = (rng.normal(size=(9, size)).astype(np.float32) for size in (3, 5))
    actions = run(small / "controller.onnx", z=z, hidden=hidden)["action"]
    assert_same(actions, jax.vmap(agent.controller)(jnp.asarray(z), jnp.asarray(hidden)))
    assert (actions.min(axis=0) >= [-0.5, 0.25, 0]).all()
    assert (actions.max(axis=0) <= [0.5, 0.5, 1]).all()
    cell = np.zeros((9, 5), np.float32)
    found = run(small / "rnn_step.onnx", z=z, action=actions, hidden=hidden, cell=cell)
    assert (found["log_sigma"] == rnn.MIN_LOG_SIGMA).all()
    memory = rnn.Memory(jnp.asarray(hidden), jnp.asarray(cell))
    after = rnn.step(agent.rnn, jnp.asarray(z), jnp.asarray(actions), memory)
    mixture = agent.rnn.predict(after.hidden).mixture
    assert found["logits"].shape == (9, 2, 1)
    for name, value in mixture._asdict().items():
        assert_same(found[name], value)


def test_a_file_describes_its_source_and_its_inputs(small):
    import onnx

    paths = onnx_export.export(small, small)
    assert [path.stem for path in paths] == ["encoder", "decoder", "rnn_step", "controller"]
    model = onnx.load(paths[0])
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["source"] == "vae.eqx"
    assert metadata["source_sha256"] == files.sha256(small / "vae.eqx")
    assert json.loads(metadata["environment"]) == {
        "id": "CarRacing-v3",
        "action_repeat": 7,
        "warm_up_frames": 9,
    }
    assert "scaled inside" in model.graph.input[0].doc_string
    axes = model.graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in axes] == ["batch", 64, 64, 3]
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)


def test_the_same_agent_gives_the_same_bytes(small, tmp_path_factory):
    other = tmp_path_factory.mktemp("again")
    onnx_export.export(small, other)
    for path in onnx_export.export(small, small):
        assert path.read_bytes() == (other / path.name).read_bytes()


def test_an_export_that_fails_reports_one_line(small, monkeypatch):
    with pytest.raises(BadInput, match=r"vae\.eqx: found a file, expected a folder"):
        onnx_export.export(small, small / "vae.eqx")
    with pytest.raises(BadInput, match=r"nowhere/vae\.eqx: not found"):
        onnx_export.export(small / "nowhere", small)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"onnx is not installed\. Run `uv sync --extra onnx`"):
        onnx_export.export(small, small)
