"""The MDN-RNN (M of the paper): from latent and action to the next latent's mixture, reward and failure.

At step t its input is z_t and a_t; its hidden state then predicts z_{t+1}, the reward of a_t, the number of
missed tiles, and whether a_t ended in failure (Ha & Schmidhuber 2018, section 2.2 and appendix A.2).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Scalar

from wm.models import latent, mdn
from wm.spec import ACTION_SIZE

REWARD_UNIT = 3.0  # points per unit of the reward head; a tile of a usual track gives about 3.5
MAX_MISSED = 5  # missed tiles per step that M learns; a shortcut across the grass misses twenty at once
MIN_LOG_SIGMA = -5.0


class Memory(NamedTuple):
    """The LSTM's state: the hidden state, which the controller reads, and the cell."""

    hidden: Float[Array, "*batch hidden"]
    cell: Float[Array, "*batch hidden"]


class Prediction(NamedTuple):
    """The prediction of one step: the next latent's mixture, the reward in points, the number of missed tiles
    (at most `MAX_MISSED`), and the logit of a failure."""

    mixture: mdn.Mixture
    reward: Float[Array, "*batch"]
    missed: Float[Array, "*batch"]
    done_logit: Float[Array, "*batch"]


class Masks(NamedTuple):
    """Dropout masks, the same for a whole episode or dream; their values are 0 or 1 / (1 - rate)."""

    latent: Float[Array, "*batch latent"]
    hidden: Float[Array, "*batch hidden"]


class Batch(NamedTuple):
    """Whole episodes side by side, padded; `mask` is True on real steps."""

    mu: Float[Array, "batch time latent"]
    logvar: Float[Array, "batch time latent"]
    action: Float[Array, "batch time action"]
    reward: Float[Array, "batch time"]
    missed: Int[Array, "batch time"]
    done: Bool[Array, "batch time"]
    mask: Bool[Array, "batch time"]


def to_batch(columns: dict[str, np.ndarray]) -> Batch:
    """The columns of `wm.data.batches.stacked` as a batch."""
    return Batch(**{name: jnp.asarray(values) for name, values in columns.items()})


class RNN(eqx.Module):
    """LSTM with one linear head for mixture, reward, missed tiles and done; any leading batch axes.

    `joint`: one mixture over all latent dimensions instead of one mixture for each dimension.
    Initialised uniformly in +-1/sqrt(hidden), forget gates at bias 1 (Jozefowicz et al. 2015).
    """

    input_weight: Float[Array, "input gates"]
    hidden_weight: Float[Array, "hidden gates"]
    gate_bias: Float[Array, " gates"]
    head_weight: Float[Array, "hidden head"]
    head_bias: Float[Array, " head"]
    latent_size: int = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)
    mixtures: int = eqx.field(static=True)
    joint: bool = eqx.field(static=True)

    def __init__(
        self, *, latent_size: int, hidden_size: int, mixtures: int, key: PRNGKeyArray, joint: bool = False
    ):
        input_key, hidden_key, head_key = jr.split(key, 3)
        limit = hidden_size**-0.5
        self.latent_size, self.hidden_size = latent_size, hidden_size
        self.mixtures, self.joint = mixtures, joint
        gates, head = 4 * hidden_size, mixtures * (self.choices + 2 * latent_size) + 3

        def uniform(key: PRNGKeyArray, *shape: int) -> Array:
            return jr.uniform(key, shape, minval=-limit, maxval=limit)

        self.input_weight = uniform(input_key, latent_size + ACTION_SIZE, gates)
        self.hidden_weight = uniform(hidden_key, hidden_size, gates)
        self.gate_bias = jnp.zeros(gates).at[hidden_size : 2 * hidden_size].set(1.0)
        self.head_weight = uniform(head_key, hidden_size, head)
        self.head_bias = jnp.zeros(head)

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments of `__init__` except the key."""
        names = ("latent_size", "hidden_size", "mixtures", "joint")
        return {name: getattr(self, name) for name in names}

    @property
    def choices(self) -> int:
        """The number of mixtures: one, or one for each latent dimension."""
        return 1 if self.joint else self.latent_size

    def start(self, *batch: int) -> Memory:
        """The memory at the start of an episode."""
        return Memory(*[jnp.zeros((*batch, self.hidden_size))] * 2)

    def inputs(
        self, z: Float[Array, "*batch latent"], action: Float[Array, "*batch action"]
    ) -> Float[Array, "*batch gates"]:
        """The input's part of the gates. It needs no memory: training computes it for all steps at once."""
        return product(jnp.concatenate([z, action], axis=-1), self.input_weight)

    def advance(self, inputs: Float[Array, "*batch gates"], memory: Memory) -> Memory:
        """The memory one step later."""
        return self.activate(inputs + product(memory.hidden, self.hidden_weight), memory.cell)

    def activate(self, gates: Float[Array, "*batch gates"], cell: Float[Array, "*batch hidden"]) -> Memory:
        """The memory after the gates' sums, to which the bias is added here."""
        enter, forget, leave, candidate = jnp.split(gates + self.gate_bias, 4, axis=-1)
        cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
        return Memory(jax.nn.sigmoid(leave) * jnp.tanh(cell), cell)

    def step(
        self, z: Float[Array, "*batch latent"], action: Float[Array, "*batch action"], memory: Memory
    ) -> Memory:
        """The memory after (z_t, a_t). In bfloat16 one product takes less time than two, if its width is a
        multiple of that of the processor's matrix registers, 32."""
        if self.hidden_weight.dtype == jnp.float32:
            return self.advance(self.inputs(z, action), memory)
        x = jnp.concatenate([z, action, memory.hidden], axis=-1)
        weight = jnp.concatenate([self.input_weight, self.hidden_weight])
        more = -len(weight) % 32
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, more)])
        return self.activate(product(x, jnp.pad(weight, [(0, more), (0, 0)])), memory.cell)

    def predict(self, hidden: Float[Array, "*batch hidden"]) -> Prediction:
        """The prediction from the hidden state after (z_t, a_t)."""
        out = product(hidden, self.head_weight) + self.head_bias
        weights, means = self.mixtures * self.choices, self.mixtures * self.latent_size
        bounds = np.cumsum([weights, means, means, 1, 1])
        *parts, reward, missed, done_logit = jnp.split(out, bounds, axis=-1)
        shape = (*hidden.shape[:-1], self.mixtures, -1)
        logits, mean, log_sigma = (part.reshape(shape) for part in parts)
        mixture = mdn.Mixture(logits, mean, jnp.maximum(log_sigma, MIN_LOG_SIGMA))
        return Prediction(mixture, REWARD_UNIT * reward[..., 0], missed[..., 0], done_logit[..., 0])


def product(
    x: Float[Array, "*batch inner"], weight: Float[Array, "inner outer"]
) -> Float[Array, "*batch outer"]:
    """x @ weight, with factors in the weight's precision, sums and result in float32."""
    rows = _product(x.reshape(-1, x.shape[-1]), weight)
    return rows.reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def _product(x: Float[Array, "row inner"], weight: Float[Array, "inner outer"]) -> Float[Array, "row outer"]:
    """Its derivative is our own: XLA's would multiply in float32 where the weight is rounded, and copy
    factors of more than one batch axis in transposed order."""
    return _rounded(x, weight)


def _product_forward(x: Array, weight: Array) -> tuple[Array, tuple[Array, Array]]:
    return _rounded(x, weight), (x, weight)


def _product_backward(factors: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    x, weight = factors
    return _transposed_product(slope, weight), weight_slope(x, slope).astype(weight.dtype)


_product.defvjp(_product_forward, _product_backward)


def _rounded(x: Array, weight: Array) -> Array:
    return jnp.dot(x.astype(weight.dtype), weight, preferred_element_type=jnp.float32)


def _transposed_product(slope: Array, weight: Array) -> Array:
    """slope @ weight.T. XLA multiplies by a transposed bfloat16 matrix in float32, unless it is padded."""
    if weight.dtype == jnp.float32:
        return _rounded(slope, weight.T)
    more = 1 + (-weight.shape[1] - 1) % 32
    return _rounded(jnp.pad(slope, ((0, 0), (0, more))), jnp.pad(weight.T, ((0, more), (0, 0))))


def weight_slope(
    x: Float[Array, "*batch inner"], slope: Float[Array, "*batch outer"]
) -> Float[Array, "inner outer"]:
    """The gradient of the weight of a product, in float32: XLA transposes bfloat16 slowly."""
    return x.reshape(-1, x.shape[-1]).T @ slope.reshape(-1, slope.shape[-1])


def in_precision(rnn: RNN, precision: str) -> RNN:
    """The RNN with its weights, not its biases, rounded to this precision, for faster matrix products."""
    return jax.tree.map(lambda leaf: leaf.astype(precision) if leaf.ndim == 2 else leaf, rnn)


def with_rounded_weights(loss: Callable[..., Any], precision: str) -> Callable[..., Any]:
    """The loss of the RNN `in_precision`. Its gradients are those of the weights that are not rounded."""
    return lambda model, *arguments: loss(in_precision(model, precision), *arguments)


class Ensemble(eqx.Module):
    """RNNs of equal sizes with initial weights of their own; `count` may be 0."""

    stacked: RNN  # its leaves have a leading axis of `count`
    count: int = eqx.field(static=True)

    def __init__(
        self,
        *,
        count: int,
        latent_size: int,
        hidden_size: int,
        mixtures: int,
        key: PRNGKeyArray,
        joint: bool = False,
    ):
        sizes = {"latent_size": latent_size, "hidden_size": hidden_size, "mixtures": mixtures, "joint": joint}
        self.stacked = eqx.filter_vmap(lambda key: RNN(**sizes, key=key))(jr.split(key, count))
        self.count = count

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments of `__init__` except the key."""
        return {"count": self.count, **self.stacked.sizes}

    @property
    def members(self) -> list[RNN]:
        """The RNNs as a list."""
        return [jax.tree.map(lambda leaf, i=i: leaf[i], self.stacked) for i in range(self.count)]

    def with_members(self, members: list[RNN]) -> "Ensemble":
        """The ensemble of these RNNs, as many as before."""
        if not members:
            return self
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
        return eqx.tree_at(lambda e: e.stacked, self, stacked)


def draw_masks(rnn: RNN, rate: float, batch: tuple[int, ...], key: PRNGKeyArray) -> Masks | None:
    """Random masks for `batch` episodes; None if `rate` is 0."""
    if rate == 0:
        return None
    latent_key, hidden_key = jr.split(key)
    latent = jr.bernoulli(latent_key, 1 - rate, (*batch, rnn.latent_size))
    hidden = jr.bernoulli(hidden_key, 1 - rate, (*batch, rnn.hidden_size))
    return Masks(latent / (1 - rate), hidden / (1 - rate))


def step(
    rnn: RNN,
    z: Float[Array, "*batch latent"],
    action: Float[Array, "*batch action"],
    memory: Memory,
    masks: Masks | None = None,
) -> Memory:
    """The memory after (z_t, a_t), dropout masks applied to z and to the new hidden state."""
    if masks is None:
        return rnn.step(z, action, memory)
    after = rnn.step(z * masks.latent, action, memory)
    return Memory(after.hidden * masks.hidden, after.cell)


def unroll(
    rnn: RNN,
    z: Float[Array, "batch time latent"],
    action: Float[Array, "batch time action"],
    masks: Masks | None = None,
) -> Memory:
    """The memories after each step of whole episodes, time first: (time, batch, hidden)."""
    z = z if masks is None else z * masks.latent[:, None]
    inputs = rnn.inputs(_time_first(z), _time_first(action))
    mask = jnp.ones((z.shape[0], rnn.hidden_size)) if masks is None else masks.hidden
    return Memory(*_lstm(inputs, rnn.hidden_weight, rnn.gate_bias, mask))


def _time_first(x: Array) -> Array:
    return jnp.swapaxes(x, 0, 1)


@jax.custom_vjp
def _lstm(
    inputs: Float[Array, "time batch gates"],
    weight: Float[Array, "hidden gates"],
    bias: Float[Array, " gates"],
    mask: Float[Array, "batch hidden"],
) -> tuple[Float[Array, "time batch hidden"], Float[Array, "time batch hidden"]]:
    """Hidden states and cells. The derivative is our own: it computes the weight's gradient outside of the
    loop, as one matrix product over all steps, and transposes the weight only once."""
    return _lstm_forward(inputs, weight, bias, mask)[0]


def _lstm_forward(inputs: Array, weight: Array, bias: Array, mask: Array) -> tuple[Any, Any]:
    def advance(memory: tuple[Array, Array], x: Array) -> tuple[Any, Any]:
        hidden, cell = memory
        raw = x + _rounded(hidden, weight) + bias
        gates, candidate = jax.nn.sigmoid(raw[:, :squashed]), jnp.tanh(raw[:, squashed:])
        enter, forget, leave = jnp.split(gates, 3, axis=-1)
        after = forget * cell + enter * candidate
        hidden = leave * jnp.tanh(after) * mask
        return (hidden, after), (hidden, after, gates, candidate)

    squashed = 3 * weight.shape[0]
    start = jnp.zeros_like(mask)
    hidden, cell, gates, candidate = jax.lax.scan(advance, (start, start), inputs)[1]
    return (hidden, cell), (hidden, cell, gates, candidate, weight, mask)


def _lstm_backward(saved: Any, slopes: tuple[Array, Array]) -> tuple[Array, Array, Array, Array]:
    hidden, cell, gates, candidate, weight, mask = saved
    hidden_before, cell_before = map(_one_step_later, (hidden, cell))
    transposed = weight.T

    def retreat(carry: tuple[Array, Array], step: Any) -> tuple[Any, Array]:
        into, from_cell = carry
        slope_hidden, slope_cell, cell, before, gates, candidate = step
        enter, forget, leave = jnp.split(gates, 3, axis=-1)
        squashed = jnp.tanh(cell)
        slope = (slope_hidden + _rounded(into, transposed)) * mask
        slope_cell = slope_cell + from_cell + slope * leave * (1 - squashed**2)
        into_gates = (
            slope_cell * candidate * enter * (1 - enter),
            slope_cell * before * forget * (1 - forget),
            slope * squashed * leave * (1 - leave),
            slope_cell * enter * (1 - candidate**2),
        )
        into = jnp.concatenate(into_gates, axis=-1)
        return (into, slope_cell * forget), into

    zeros = jnp.zeros_like(mask)
    start = jnp.zeros((len(mask), weight.shape[1]), mask.dtype)
    steps = (*slopes, cell, cell_before, gates, candidate)
    into = jax.lax.scan(retreat, (start, zeros), steps, reverse=True)[1]
    into_weight = weight_slope(hidden_before, into).astype(weight.dtype)
    # masks are random numbers, not parameters: no gradient
    return into, into_weight, into.sum(axis=(0, 1)), zeros


def _one_step_later(x: Float[Array, "time batch hidden"]) -> Float[Array, "time batch hidden"]:
    """Each step's value at the step before it, zero at the first."""
    return jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])


_lstm.defvjp(_lstm_forward, _lstm_backward)


def sample_latents(batch: Batch, key: PRNGKeyArray) -> Float[Array, "batch time latent"]:
    """z sampled from the encoder's (mu, logvar)."""
    return latent.sample(batch.mu, batch.logvar, key)


class LossWeights(NamedTuple):
    """Weights of the heads' errors beside the negative log-likelihood of z."""

    reward: float
    missed: float
    done: float


def loss(
    rnn: RNN,
    batch: Batch,
    key: PRNGKeyArray,
    *,
    weights: LossWeights,
    dropout: float,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Negative log-likelihood of z_{t+1} plus weighted reward, missed and done errors, means over steps.

    Metrics: `nll` in nats per step, `reward_error` the mean squared error in points squared (without steps
    that end in failure, whose fine the done head accounts for), `missed_error` the same in tiles squared,
    and `done_error` the cross-entropy in nats.
    """
    z_key, mask_key = jr.split(key)
    z = sample_latents(batch, z_key)
    masks = draw_masks(rnn, dropout, z.shape[:1], mask_key)
    expected = rnn.predict(unroll(rnn, z, batch.action, masks).hidden)
    z, batch = jax.tree.map(_time_first, (z, batch))
    nll = -mdn.log_density(expected.mixture, jnp.roll(z, -1, axis=0)).sum(-1)
    has_next = jnp.roll(batch.mask, -1, axis=0).at[-1].set(False)
    reward_error = (expected.reward - batch.reward) ** 2
    missed_error = (expected.missed - jnp.minimum(batch.missed, MAX_MISSED)) ** 2
    done_error = jnp.logaddexp(0, expected.done_logit) - batch.done * expected.done_logit
    metrics = {
        "nll": _mean(nll, has_next),
        "reward_error": _mean(reward_error, batch.mask & ~batch.done),
        "missed_error": _mean(missed_error, batch.mask),
        "done_error": _mean(done_error, batch.mask),
    }
    total = (
        metrics["nll"]
        + weights.reward * metrics["reward_error"] / REWARD_UNIT**2
        + weights.missed * metrics["missed_error"]
        + weights.done * metrics["done_error"]
    )
    return total, {"loss": total, **metrics}


def _mean(values: Float[Array, "time batch"], mask: Bool[Array, "time batch"]) -> Scalar:
    return jnp.sum(jnp.where(mask, values, 0)) / jnp.maximum(jnp.sum(mask), 1)
