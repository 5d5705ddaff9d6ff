"""The dream: an RNN run on its own samples. Pure functions, batched by their leading axes."""

import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from wm.data.shards import Shards
from wm.dream.dynamics import Rules
from wm.errors import BadInput
from wm.models import rnn
from wm.models.rnn import RNN, Memory


class Starts(NamedTuple):
    """Real moments to dream on from, with both RNNs' memories of the real drive that led there."""

    mu: Float[Array, "*batch latent"]
    logvar: Float[Array, "*batch latent"]
    memory: Memory
    watched: Memory


def sample_starts(starts: Starts, key: PRNGKeyArray) -> Float[Array, "*batch latent"]:
    """The starts' latents, drawn from the encoder's (mu, logvar)."""
    return starts.mu + jnp.exp(starts.logvar / 2) * jr.normal(key, starts.mu.shape)


class FirstSight(NamedTuple):
    """The first moments of drives, as the encoder sees them, and the rewards of their warm-ups."""

    mu: Float[Array, "batch latent"]
    logvar: Float[Array, "batch latent"]
    warm_up_reward: Float[Array, " batch"]

    def draw(self, count: int, seed: int) -> "FirstSight":
        """`count` of them, with replacement."""
        chosen = np.random.default_rng(seed).integers(len(self.mu), size=count)
        return FirstSight(*(part[chosen] for part in self))


def unseen_starts(shards: Shards) -> FirstSight:
    """The first moments of all validation drives."""
    records = [record for record in shards.kept(validation=True) if not record.mirrored]
    seen = [shards.read(record).observations for record in records]
    mu, logvar = (jnp.stack([one[name][0] for one in seen]) for name in ("mu", "logvar"))
    return FirstSight(mu, logvar, jnp.array([record.warm_up_reward for record in records]))


UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    TypeError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)  # what NumPy and its ZIP reader say of damaged files


def read_starts(path: Path, latent_size: int) -> FirstSight:
    """The first moments that `np.savez` wrote. Raises BadInput where they are missing, damaged, of other
    sizes, or not finite."""
    mend = "Run `dvc checkout` or `dvc repro`."
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = [np.asarray(stored[part]) for part in FirstSight._fields]
    except UNREADABLE as error:
        raise BadInput(f"{path}: {error}, wanted first moments of drives. {mend}") from None
    count = len(found[2]) if found[2].ndim else 0
    for name, part, shape in zip(
        FirstSight._fields, found, [(count, latent_size)] * 2 + [(count,)], strict=True
    ):
        if part.shape != shape or part.dtype != np.float32 or not count:
            raise BadInput(f"{path}: {name}: found {part.dtype} {part.shape}, wanted float32 {shape}. {mend}")
        if not np.isfinite(part).all():
            raise BadInput(f"{path}: {name} holds values that are not finite. {mend}")
    return FirstSight(*map(jnp.asarray, found))


def starts_at(
    simulator: RNN,
    watcher: RNN,
    batch: rnn.Batch,
    times: Int[Array, "batch chosen"],
    key: PRNGKeyArray,
    rules: Rules,
) -> Starts:
    """The moments `times` of real episodes, both memories warmed by the drive before, seen as in dreams by
    these rules: (batch, chosen)."""
    rows = jnp.arange(times.shape[0])[:, None]
    z = batch.mu if rules.denoised else rnn.sample_latents(batch, key)

    def warmed(model: RNN) -> Memory:
        memories = rnn.unroll(model, z, batch.action)
        after = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), memories)
        return jax.tree.map(lambda leaf: jnp.where((times > 0)[..., None], leaf[rows, times - 1], 0.0), after)

    return Starts(batch.mu[rows, times], batch.logvar[rows, times], warmed(simulator), warmed(watcher))
