"""Where dreams start: at the first frame of a drive, or at a moment in the middle of one."""

import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from wm.data.shards import Shards
from wm.dream.dynamics import Simulation, first_latent
from wm.errors import BadInput
from wm.models import latent, rnn
from wm.models.rnn import RNN, Memory
from wm.runtime import places


class Starts(NamedTuple):
    """Start states: moments of real drives, with the memories that both RNNs have of the drive so far."""

    mu: Float[Array, "*batch latent"]
    logvar: Float[Array, "*batch latent"]
    memory: Memory
    watched: Memory

    def sample(self, key: PRNGKeyArray) -> Float[Array, "*batch latent"]:
        """Their latents, sampled from the encoder's distribution."""
        return latent.sample(self.mu, self.logvar, key)


class StartFrames(NamedTuple):
    """The encoder's output for the first frames of drives, and the rewards of their warm-ups in points."""

    mu: Float[Array, "batch latent"]
    logvar: Float[Array, "batch latent"]
    warm_up_reward: Float[Array, " batch"]

    def draw(self, count: int, seed: int) -> "StartFrames":
        """`count` of them, with replacement."""
        chosen = np.random.default_rng(seed).integers(len(self.mu), size=count)
        return StartFrames(*(part[chosen] for part in self))


def unseen_starts(shards: Shards) -> StartFrames:
    """The start frames of all validation drives, mirrored ones left out."""
    records = [record for record in shards.kept(validation=True) if not record.mirrored]
    observations = (shards.read(record).observations for record in records)
    firsts = [(columns["mu"][0].copy(), columns["logvar"][0].copy()) for columns in observations]
    mu, logvar = (jnp.asarray(np.stack(part)) for part in zip(*firsts, strict=True))
    return StartFrames(mu, logvar, jnp.array([record.warm_up_reward for record in records]))


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
)  # what NumPy and its ZIP reader raise for damaged files


def read_starts(path: Path, latent_size: int) -> StartFrames:
    """The start frames that `np.savez` wrote.

    Raises BadInput where the file is missing or damaged, or its arrays have other sizes or are not finite.
    """
    remedy = places.remedy(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = [np.asarray(stored[part]) for part in StartFrames._fields]
    except FileNotFoundError:
        raise BadInput(f"{path}: not found. {places.remedy(path, missing=True)}") from None
    except UNREADABLE as error:
        raise BadInput(f"{path}: {error}, expected start frames of drives. {remedy}") from None
    count = len(arrays[2]) if arrays[2].ndim else 0
    shapes = [(count, latent_size), (count, latent_size), (count,)]
    for name, array, shape in zip(StartFrames._fields, arrays, shapes, strict=True):
        if array.shape != shape or array.dtype != np.float32 or not count:
            found = f"{path}: {name}: found {array.dtype} {array.shape}"
            raise BadInput(f"{found}, expected float32 {shape}. {remedy}")
        if not np.isfinite(array).all():
            raise BadInput(f"{path}: {name}: found values that are not finite. {remedy}")
    return StartFrames(*map(jnp.asarray, arrays))


def starts_at(
    simulation: Simulation, drives: rnn.Batch, times: Int[Array, "batch chosen"], key: PRNGKeyArray
) -> Starts:
    """The start states at the moments `times` of real drives, (batch, chosen).

    Both memories have seen the drive up to that moment; by the simulation's rules it consists of latents that
    are samples, or the encoder's mean.
    """
    rows = jnp.arange(times.shape[0])[:, None]
    z, noisy = first_latent(drives.mu, rnn.sample_latents(drives, key), simulation.rules)

    def warmed(model: RNN, latents: Float[Array, "batch time latent"]) -> Memory:
        memories = rnn.unroll(model, latents, drives.action)
        after = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), memories)
        return jax.tree.map(lambda leaf: jnp.where((times > 0)[..., None], leaf[rows, times - 1], 0.0), after)

    mu, logvar = drives.mu[rows, times], drives.logvar[rows, times]
    return Starts(mu, logvar, warmed(simulation.simulator, noisy), warmed(simulation.watcher, z))
