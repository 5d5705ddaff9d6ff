"""The gradient loop, and a training that is killed and resumed."""

from itertools import islice

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.models import fit
from wm.runtime.checkpoint import Checkpoints

STEPS = 12


class Killed(Exception):
    pass


def loss(model, batch, key):
    error = jnp.mean((jax.vmap(model)(batch) - jnp.sin(batch)) ** 2) + 0.01 * jr.normal(key)
    return error, {"loss": error}


def batches(done, spoilt=None):
    rng = np.random.default_rng(3)
    for step in range(STEPS):
        batch = rng.normal(size=(8, 4)).astype(np.float32)
        if step >= done:
            yield jnp.asarray(batch * (np.nan if step == spoilt else 1))


def train(folder, kill_at=None, spoilt=None):
    checked = []

    def check(model):
        checked.append(float(model.weight[0, 0]))
        if len(checked) == kill_at:
            raise Killed
        return {"seen": checked[-1]}

    return fit.train(
        eqx.nn.Linear(4, 4, key=jr.key(0)),
        fit.Training(loss, lambda done: batches(done, spoilt), STEPS, learning_rate=1e-2, gradient_clip=1.0),
        fit.Validation(check, every=3),
        Checkpoints(folder, seconds=0.0),
        key=jr.key(1),
        label="train_x",
    )


@pytest.mark.parametrize("kills", [[1], [3], [2, 1, 1]])
def test_a_killed_training_ends_with_the_same_bits(tmp_path, kills):
    model, curve = train(tmp_path / "whole")
    for kill_at in kills:
        with pytest.raises(Killed):
            train(tmp_path / "killed", kill_at)
    again, same = train(tmp_path / "killed")
    assert same == curve
    assert [row["step"] for row in curve] == [3, 6, 9, 12]
    for found, wanted in zip(jax.tree.leaves(again), jax.tree.leaves(model), strict=True):
        assert np.array_equal(found, wanted)


def test_a_finished_training_is_not_repeated(tmp_path):
    model, curve = train(tmp_path)
    again, same = train(tmp_path, kill_at=1)
    assert same == curve
    assert np.array_equal(again.weight, model.weight)


def test_a_loss_that_is_not_finite_stops_the_training_and_the_message_names_the_last_good_checkpoint(
    tmp_path,
):
    with pytest.raises(fit.Diverged, match=rf"train_x: step 7: .*nan.*{tmp_path}/newest"):
        train(tmp_path, spoilt=7)
    model = eqx.nn.Linear(4, 4, key=jr.key(0))
    last = Checkpoints(tmp_path).last((model, fit.start(fit.adam(1e-2, STEPS, 1.0), model)))
    assert last is not None
    notes, _ = last
    assert notes["step"] == 7


def test_a_resumed_loop_continues_with_the_same_steps():
    optimiser = fit.adam(1e-2, STEPS, 1.0)

    def linear():
        return eqx.nn.Linear(4, 4, key=jr.key(0))

    whole = [one.metrics for one in fit.updates(linear(), loss, batches(0), optimiser, key=jr.key(1))]
    *_, half = islice(fit.updates(linear(), loss, batches(0), optimiser, key=jr.key(1)), 5)
    rest = fit.updates(
        half.model, loss, batches(5), optimiser, key=jr.key(1), resume=fit.Resume(5, half.state)
    )
    assert [one.metrics for one in rest] == whole[5:]


def test_the_next_batch_is_read_before_a_steps_metrics_are_waited_for():
    read = []

    def counted():
        for number, batch in enumerate(batches(0)):
            read.append(number)
            yield batch

    model = eqx.nn.Linear(4, 4, key=jr.key(0))
    fitting = fit.updates(model, loss, counted(), fit.adam(1e-2, STEPS, 1.0), key=jr.key(1))
    next(fitting)
    assert read == [0, 1]
    assert len(list(fitting)) == STEPS - 1
