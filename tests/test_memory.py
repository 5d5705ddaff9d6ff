"""Programs that do not fit the device's memory: one line that names the parameter to lower."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax import monitoring

from stages import __main__ as runner
from wm.errors import BadInput, Halted
from wm.models import fit
from wm.params import file
from wm.runtime import memory
from wm.runtime.run import run

ROOT = Path(__file__).parents[1]
COMPILED = "/jax/core/compile/backend_compile_duration"
SIDE = 64


def loss(model, batch, key):
    error = jnp.mean(jax.vmap(model)(batch) ** 2) + 0.01 * jr.normal(key)
    return error, {"loss": error}


def trained():
    """The weight after three steps."""
    model = eqx.nn.Linear(SIDE, SIDE, key=jr.key(0))
    batches = [np.full((8, SIDE), step, np.float32) for step in range(3)]
    return [
        np.array(state.model.weight)
        for state in fit.updates(model, loss, batches, fit.adam(1e-2, 3, 1.0), key=jr.key(1))
    ][-1]


def limit(monkeypatch, gigabytes, in_use=0):
    """A device with this memory for JAX."""
    device = {"bytes_limit": round(gigabytes * 1e9), "bytes_in_use": in_use}
    monkeypatch.setattr(memory, "stats", lambda: device)


@pytest.fixture
def compilations():
    """The programs that were compiled since the test began."""
    found = []

    def listen(event, duration_secs, **kwargs):
        if event == COMPILED:
            found.append(kwargs)

    monitoring.register_event_duration_secs_listener(listen)
    yield found
    monitoring.unregister_event_duration_listener(listen)


def test_a_check_changes_no_bit_and_compiles_nothing_twice(monkeypatch, compilations):
    expected = trained()
    unchecked = len(compilations)
    compilations.clear()
    limit(monkeypatch, 1)
    assert np.array_equal(trained(), expected)
    assert 0 < len(compilations) <= unchecked


def test_nothing_is_lowered_on_a_cpu(monkeypatch):
    if jax.default_backend() != "cpu":
        pytest.skip("a machine with an accelerator")
    monkeypatch.setattr(memory, "needs", lambda *_, **__: pytest.fail("lowered"))
    trained()


def test_an_allocator_without_a_limit_is_not_checked(monkeypatch):
    monkeypatch.setattr(memory, "stats", lambda: {"bytes_in_use": 10})
    monkeypatch.setattr(memory, "needs", lambda *_, **__: pytest.fail("lowered"))
    trained()


def test_a_program_needs_its_arguments_its_results_and_what_is_on_the_device_already():
    program = eqx.filter_jit(lambda x: jnp.outer(x, x))
    x = jnp.ones(1000)
    bare = memory.needs(program, x)
    assert bare >= 4 * (1000 + 1000**2)
    assert memory.needs(program, x, in_use=10**9) == pytest.approx(bare + 10**9, abs=4001)


def test_donated_memory_is_counted_once():
    def doubled(x):
        return 2 * x

    x = jnp.ones(10**6)
    kept, reused = (eqx.filter_jit(doubled, donate=donate) for donate in ("none", "all"))
    assert memory.needs(kept, x) - memory.needs(reused, x) == 4 * 10**6


def test_a_training_step_can_be_asked_what_it_needs_without_running_it():
    model, optimiser = eqx.nn.Linear(SIDE, SIDE, key=jr.key(0)), fit.adam(1e-2, 3, 1.0)
    arguments = (np.zeros((8, SIDE), np.float32), jr.key(1)), model, fit.start(optimiser, model)
    weights = 4 * SIDE * (SIDE + 1)
    assert memory.needs(fit.update_step(loss, optimiser).__wrapped__, *arguments) > 3 * weights  # with Adam's


def expect_line(capsys, stage, code, *parts, round_name="r1"):
    """That the stage of params.yaml ends in one line with these parts and this exit code."""
    params = file.load(ROOT / "params.yaml")

    def work():
        with memory.named(stage, runner.step_sizes(stage, params, round_name)):
            trained()

    with pytest.raises(SystemExit) as ended:
        run(work)
    line = capsys.readouterr().err
    assert ended.value.code == code
    assert line.count("\n") == 1
    for part in parts:
        assert part in line
    return line


@pytest.mark.parametrize(
    ("stage", "names", "remedy"),
    [
        ("train_vae", "train_vae.batch_size: found 128,", "lower train_vae.batch_size, or raise XLA_PYTHON"),
        (
            "train_rnn",
            "train_rnn.batch_size, train_rnn.window_steps: found 8 and 238,",
            "lower train_rnn.batch_size or train_rnn.window_steps, or raise",
        ),
        (
            "evolve",
            "evolve.rollouts: found ",
            "lower evolve.rollouts, or raise XLA_PYTHON_CLIENT_MEM_FRACTION",
        ),
    ],
)
def test_a_step_that_does_not_fit_is_one_line_before_it_starts(monkeypatch, capsys, stage, names, remedy):
    limit(monkeypatch, 5, in_use=6 * 10**9)
    start = f"error: params.yaml: {names}"
    line = expect_line(capsys, stage, 2, remedy, "must hold 6.0 GB, expected at most 5.0 GB")
    assert line.startswith(start)


def exhaust(*_, **__):
    raise jax.errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12 bytes.\n..."
    )


@pytest.mark.parametrize(
    ("stage", "remedy"),
    [
        (
            "train_rnn",
            "run the same command to resume; if it happens again, lower train_rnn.batch_size or"
            " train_rnn.window_steps: the stage starts again",
        ),
        ("encode", "and run the same command again.\n"),
    ],
)
def test_memory_that_runs_out_is_one_line(monkeypatch, capsys, stage, remedy):
    monkeypatch.setattr(fit, "update_step", lambda *_: exhaust)
    line = expect_line(capsys, stage, 1, "Close other programs that use it", remedy)
    assert line.startswith(f"error: {stage}: the device's memory ran out. ")


def test_other_errors_of_a_stage_stay_as_they_are():
    with pytest.raises(RuntimeError, match="something else"), memory.named("encode", {}):
        raise RuntimeError("something else")
    with pytest.raises(BadInput, match=r"^x$"), memory.named("encode", {}):
        raise BadInput("x")
    with pytest.raises(Halted, match=r"^y$"), memory.named("encode", {}):
        raise Halted("y")


def test_the_runner_names_the_parameters(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(runner, "import_module", lambda name: SimpleNamespace(main=exhaust))
    monkeypatch.setattr(runner.startup, "cache_compiled", lambda: None)
    with pytest.raises(Halted, match=r"^train_vae: .*lower train_vae.batch_size"):
        runner.run_stage("train_vae")


def test_the_runner_does_not_import_jax():
    code = "import sys, stages.__main__; print('jax' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout == "False\n"


def test_the_first_round_names_its_own_sizes():
    params = file.load(ROOT / "params.yaml")
    assert runner.step_sizes("train_rnn", params, "r0") == {
        "train_rnn.first_round_batch_size": 32,
        "train_rnn.first_round_window_steps": 60,
    }
