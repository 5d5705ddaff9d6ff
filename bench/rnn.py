"""Speed of the RNN's training, of the dream, and of evolution: `uv run python -m bench.rnn`.

If PyTorch is installed, compares with the same network there: `nn.LSTM` and one linear head, the same losses,
Adam and clipping; and with the same dream of simulator, watcher and controller, step by step. Sizes are those
of the default profile. A generation includes the work of CMA-ES between dreams.
"""

import importlib.util
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from bench import process
from bench.timing import MATRIX_FLOP, MATRIX_NAME, Row, alternate, matrix_product, show
from wm.dream import scoring
from wm.dream.dynamics import Rules, Simulation
from wm.dream.starts import Starts
from wm.dream.unroll import unroll
from wm.models import fit, rnn
from wm.models.controller import Controller
from wm.models.rnn import RNN, Batch
from wm.models.rnn_data import BatchShape
from wm.search.cma_es import Schedule, maximise
from wm.search.space import principal_components
from wm.spec import ACTION_SIZE, FAILURE_REWARD

LATENT, HIDDEN, MIXTURES = 32, 256, 5
SHAPE = BatchShape(windows=8, steps=238)  # of a training batch
PRECISIONS = ("float32", "bfloat16")
TIMES = 4  # steps of each of two RNNs per measurement
POPULATION, ROLLOUTS, HORIZON = 64, 64, 25  # of one generation
COMPONENTS = 64  # principal components in which controllers are searched
COORDINATES = ACTION_SIZE * (COMPONENTS + 1)
WEIGHTS = rnn.LossWeights(reward=10.0, missed=10.0, done=10.0)
LOSS = partial(rnn.loss, weights=WEIGHTS, dropout=0.0)
GATES = 4 * HIDDEN
HEAD = 3 * LATENT * MIXTURES + 3
LSTM_FLOP = 2 * (LATENT + ACTION_SIZE + HIDDEN) * GATES  # of one step of one episode
HEAD_FLOP = 2 * HIDDEN * HEAD
SEARCH = Schedule(
    population=POPULATION,
    generations=1000,
    sigma0=0.1,
    max_std=0.1,
    final_std=0.02,
    decay_start=0.4,
    diagonal=True,
)


def batch() -> Batch:
    """Random windows of drives."""
    rng = np.random.default_rng(0)
    return Batch(
        mu=jnp.asarray(rng.normal(size=(*SHAPE, LATENT)), jnp.float32),
        logvar=jnp.full((*SHAPE, LATENT), -2.0),
        action=jnp.asarray(rng.uniform(0, 1, (*SHAPE, ACTION_SIZE)), jnp.float32),
        reward=jnp.asarray(rng.normal(size=SHAPE), jnp.float32),
        missed=jnp.zeros(SHAPE, jnp.int32),
        done=jnp.zeros(SHAPE, bool),
        mask=jnp.ones(SHAPE, bool),
    )


def network(seed: int) -> RNN:
    """An RNN of the default profile's sizes."""
    return RNN(latent_size=LATENT, hidden_size=HIDDEN, mixtures=MIXTURES, key=jr.key(seed))


def trainer(seed: int, precision: str) -> Callable[[], object]:
    """A function that takes a training step, in the gradient loop of the stage."""
    loss = rnn.with_rounded_weights(LOSS, precision)
    steps = fit.updates(network(seed), loss, repeat(batch()), fit.adam(1e-3, 1000, 10.0), key=jr.key(1))
    return lambda: next(steps)


def side_by_side(runs: list[Callable[[], object]], times: int) -> Callable[[], object]:
    """A function that calls each of `runs` several times, one thread each, as the stage trains its RNNs."""

    def repeated(run: Callable[[], object]) -> None:
        for _ in range(times):
            run()

    def together() -> None:
        with ThreadPoolExecutor(len(runs)) as pool:
            list(pool.map(repeated, runs))

    return together


def torch_networks() -> tuple[Any, Any]:
    """PyTorch's LSTM and head of the same sizes."""
    from torch import nn  # pyright: ignore[reportMissingImports]

    return nn.LSTM(LATENT + ACTION_SIZE, HIDDEN), nn.Linear(HIDDEN, HEAD)


def torch_trainer() -> Callable[[], object]:
    """A function that takes the same training step in PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    lstm, head = torch_networks()
    parameters = [*lstm.parameters(), *head.parameters()]
    adam = torch.optim.Adam(parameters, lr=1e-3)
    drives = torch_batch(batch())

    def train() -> None:
        total = torch_sampled_loss((lstm, head), drives)
        adam.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(parameters, 10.0)
        adam.step()
        total.item()

    return train


def torch_batch(batch: Batch) -> list[Any]:
    """The batch in PyTorch, time first."""
    import torch  # pyright: ignore[reportMissingImports]

    parts = [torch.from_numpy(np.swapaxes(np.asarray(part), 0, 1).copy()) for part in batch]
    return [part.float() for part in parts]


def torch_sampled_loss(networks: tuple[Any, Any], drives: Sequence[Any]) -> Any:
    """`torch_loss` of a batch whose latents are drawn."""
    import torch  # pyright: ignore[reportMissingImports]

    mu, logvar, *data = drives
    return torch_loss(networks, mu + torch.exp(logvar / 2) * torch.randn_like(mu), data)


def torch_loss(networks: tuple[Any, Any], z: Any, data: Sequence[Any]) -> Any:
    """`rnn.loss` in PyTorch of sampled latents; `data` is action, reward, missed tiles, end and mask."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    (lstm, head), (action, reward, missed, done, mask) = networks, data
    out = head(lstm(torch.cat([z, action], dim=-1))[0]).float()
    parts = out[..., :-3].reshape(*out.shape[:-1], 3, MIXTURES, LATENT).unbind(dim=-3)
    logits, mean, log_sigma = (part[:-1] for part in parts)
    log_sigma = log_sigma.clamp(min=rnn.MIN_LOG_SIGMA)
    deviation = (z[1:, :, None] - mean) * torch.exp(-log_sigma)
    gaussian = -0.5 * (deviation.square() + math.log(2 * math.pi)) - log_sigma
    density = torch.logsumexp(torch.log_softmax(logits, dim=-2) + gaussian, dim=-2)

    def masked_mean(values: Any, mask: Any) -> Any:
        return (values * mask).sum() / mask.sum()

    total = masked_mean(-density.sum(dim=-1), mask[1:])
    deviation = (out[..., -3] - reward / rnn.REWARD_UNIT).square()
    total = total + WEIGHTS.reward * masked_mean(deviation, mask * (1 - done))
    deviation = (out[..., -2] - missed.clamp(max=rnn.MAX_MISSED)).square()
    total = total + WEIGHTS.missed * masked_mean(deviation, mask)
    entropy = nn.functional.binary_cross_entropy_with_logits(out[..., -1], done, reduction="none")
    return total + WEIGHTS.done * masked_mean(entropy, mask)


def dreamer(precision: str) -> Callable[[np.ndarray], jax.Array]:
    """A function that computes the returns of candidates, `ROLLOUTS` dreams of `HORIZON` steps each."""
    simulator, watcher = (rnn.in_precision(network(seed), precision) for seed in (0, 1))
    rng, rules = np.random.default_rng(0), Rules(temperature=1.0, stuck_steps=0, action_repeat=4)
    z = jnp.asarray(rng.normal(size=(ROLLOUTS, LATENT)), jnp.float32)
    starts = Starts(z, jnp.full_like(z, -2.0), *(model.start(ROLLOUTS) for model in (simulator, watcher)))
    zero = Controller(features=LATENT + HIDDEN)
    space = principal_components(zero, rng.normal(size=(1024, LATENT + HIDDEN)), COMPONENTS)

    @jax.jit
    def returns(candidates: jax.Array) -> jax.Array:
        population = jax.vmap(space.controller)(candidates)
        simulation = Simulation(simulator, watcher, rules)
        dreams = unroll(simulation, population, starts, jr.key(0), steps=HORIZON)
        return scoring.returns(dreams.outcome).mean(axis=-1)

    return lambda candidates: returns(jnp.asarray(candidates, jnp.float32)).block_until_ready()


class TorchDream:
    """The same dreams in PyTorch, float32: `population` controllers, each in all `rollouts`."""

    def __init__(self, population: int = POPULATION, rollouts: int = ROLLOUTS):
        import torch  # pyright: ignore[reportMissingImports]
        from torch import nn  # pyright: ignore[reportMissingImports]

        self.simulator, self.watcher = (nn.LSTMCell(LATENT + ACTION_SIZE, HIDDEN) for _ in range(2))
        self.head = nn.Linear(HIDDEN, HEAD)
        self.weight = torch.zeros(population, LATENT + HIDDEN, ACTION_SIZE)
        self.population, self.rollouts = population, rollouts

    def start(self, z: Any) -> tuple[Any, ...]:
        """Latents, memories, survival probabilities and points at the start; z is (rollouts, latent)."""
        import torch  # pyright: ignore[reportMissingImports]

        count = self.population * self.rollouts
        memories = ([torch.zeros(count, HIDDEN)] * 2 for _ in range(2))
        return z.repeat(self.population, 1), *memories, torch.ones(count), torch.zeros(count)

    def step(self, state: tuple[Any, ...], gumbel: Any, normal: Any) -> tuple[Any, ...]:
        """The state one step later, with noise of (rollouts, mixture, latent) and (rollouts, latent)."""
        import torch  # pyright: ignore[reportMissingImports]

        z, memory, watched, survival, total = state
        seen = torch.cat([z, watched[0]], dim=-1).reshape(self.population, self.rollouts, -1)
        raw = torch.bmm(seen, self.weight).reshape(len(z), ACTION_SIZE)
        action = torch.cat([raw[:, :1].tanh(), raw[:, 1:].sigmoid()], dim=-1)
        told = torch.cat([z, action], dim=-1)
        memory, watched = self.simulator(told, memory), self.watcher(told, watched)
        out = self.head(memory[0])
        logits, mean, log_sigma = out[:, :-3].reshape(len(z), 3, MIXTURES, LATENT).unbind(dim=1)
        chosen = (logits + gumbel.repeat(self.population, 1, 1)).argmax(dim=1, keepdim=True)
        sigma = log_sigma.gather(1, chosen)[:, 0].clamp(min=rnn.MIN_LOG_SIGMA).exp()
        z = mean.gather(1, chosen)[:, 0] + sigma * normal.repeat(self.population, 1)
        failure = out[:, -1].sigmoid()
        total = total + survival * (1 - failure) * rnn.REWARD_UNIT * out[:, -3]
        total = total + survival * failure * FAILURE_REWARD
        return z, memory, watched, survival * (1 - failure), total


def torch_dreamer() -> Callable[[], object]:
    """A function that dreams a generation in PyTorch, without gradients."""
    import torch  # pyright: ignore[reportMissingImports]

    dreams = TorchDream()

    @torch.no_grad()
    def run() -> None:
        state = dreams.start(torch.randn(ROLLOUTS, LATENT))
        for _ in range(HORIZON):
            gumbel = -torch.log(-torch.log(torch.rand(ROLLOUTS, MIXTURES, LATENT)))
            state = dreams.step(state, gumbel, torch.randn(ROLLOUTS, LATENT))
        state[-1].reshape(POPULATION, ROLLOUTS).mean(dim=1)

    return run


def rows() -> list[Row]:
    """The rows of training, of the dream and of a generation."""
    return [*training(), *dreaming()]


def training() -> list[Row]:
    """Gradient steps per second of one RNN, and of two side by side together. PyTorch's are float32."""
    runs = {name: trainer(0, name) for name in PRECISIONS}
    pairs = {name: side_by_side([trainer(seed, name) for seed in (0, 1)], TIMES) for name in PRECISIONS}
    runs[MATRIX_NAME], pairs[MATRIX_NAME] = matrix_product(), matrix_product()
    if importlib.util.find_spec("torch"):
        runs["PyTorch"] = torch_trainer()
        pairs["PyTorch"] = side_by_side([torch_trainer(), torch_trainer()], TIMES)
    found = ("", 1, alternate(runs, 20)), (", two RNNs", 2 * TIMES, alternate(pairs, 6))
    rows = []
    for what, steps, seconds in found:
        limit = MATRIX_FLOP / seconds[MATRIX_NAME] / (3 * math.prod(SHAPE) * (LSTM_FLOP + HEAD_FLOP))
        peer = ("PyTorch", steps / seconds["PyTorch"]) if "PyTorch" in seconds else ("", 0.0)
        for name in PRECISIONS:
            path = f"M training{what}, {name}"
            rows.append(Row(path, "steps", steps / seconds[name], *peer, MATRIX_NAME, limit))
    return rows


def dreaming() -> list[Row]:
    """Steps of the dream per second, and generations per second."""
    still = np.zeros((POPULATION, COORDINATES))
    dreamers = {precision: dreamer(precision) for precision in PRECISIONS}
    generations = maximise(lambda _, asked: dreamers["bfloat16"](asked), still[0], SEARCH, seed=1)
    runs: dict[str, Callable[[], object]] = {
        **{name: partial(dream, still) for name, dream in dreamers.items()},
        "generation": lambda: next(generations),
        MATRIX_NAME: matrix_product(),
    }
    if importlib.util.find_spec("torch"):
        runs["PyTorch"] = torch_dreamer()
    seconds = alternate(runs, 10)
    steps = POPULATION * ROLLOUTS * HORIZON
    limit = MATRIX_NAME, MATRIX_FLOP / seconds[MATRIX_NAME] / (2 * LSTM_FLOP + HEAD_FLOP)
    peer = ("PyTorch", steps / seconds["PyTorch"]) if "PyTorch" in seconds else ("", 0.0)
    dreams_alone = "its dreams alone", 1 / seconds["bfloat16"]
    return [
        *(Row(f"dream, {name}", "steps", steps / seconds[name], *peer, *limit) for name in dreamers),
        Row("CMA-ES", "generations", 1 / seconds["generation"], "", 0.0, *dreams_alone),
    ]


if __name__ == "__main__":
    process.set_up()
    show(rows())
