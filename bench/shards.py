"""Speed of shards, and the cost of loading them in the training stages: `uv run python -m bench.shards`.

Reads and writes copies of a few drives of the lane follower. The peer is NumPy's compressed archive of the
same drives. The limit of a training loop is its steps without loading.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from bench import process
from bench import rnn as bench_rnn
from bench.scale import TIMING
from bench.timing import Row, alternate, show
from stages import collect
from wm.data import resident
from wm.data.cached import CachedShards
from wm.data.episode import Episode
from wm.data.resident import FrameOrder
from wm.data.shards import Shards, Writer
from wm.models import fit, rnn, rnn_data, vae
from wm.models.rnn_data import WindowBatches
from wm.models.vae import VAE

FIRST_TRACK = 910_000_000  # not used by any stage
DRIVES, COPIES = 8, 8
VAE_BATCH, VAE_STEPS, RNN_STEPS = 128, 60, 40
BUFFER = 16  # drives; read twice during the measured steps
ROOM = 2**30  # bytes; more than the frames of these drives
STEPS, ON_DEVICE = "steps alone", "kept on the device"


def rows() -> list[Row]:
    """Writing, reading, and both training loops."""
    drives = [collect.episode(("lane_follower", TIMING, FIRST_TRACK + i)) for i in range(DRIVES)]
    drives = list(islice(cycle(drives), DRIVES * COPIES))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        written = files(drives, folder)
        write_all(with_latents(drives), folder / "latents")
        return [
            *written,
            *process.convolving(vae_loops, folder / "shards"),
            *rnn_loops(CachedShards(folder / "latents")),
        ]


def files(drives: list[Episode], folder: Path) -> list[Row]:
    """Frames per second, written and read."""
    frames = sum(drive.record.length for drive in drives)

    def write_shards() -> None:
        shutil.rmtree(folder / "shards", ignore_errors=True)
        write_all(drives, folder / "shards")

    def read_shards() -> None:
        shards = Shards(folder / "shards")
        for record in shards.kept():
            shards.read(record)

    def write_archives() -> None:
        for i, drive in enumerate(drives):
            np.savez_compressed(folder / f"{i}.npz", frame=drive.observations["frame"])

    def read_archives() -> None:
        for i in range(len(drives)):
            with np.load(folder / f"{i}.npz", allow_pickle=False) as archive:
                archive["frame"]

    written = alternate({"ours": write_shards, "peer": write_archives}, 3)
    read = alternate({"ours": read_shards, "peer": read_archives}, 3)
    table = []
    for action, seconds in (("written", written), ("read", read)):
        ours, peer = (frames / seconds[name] for name in ("ours", "peer"))
        path = f"shards {action}"
        table.append(Row(path, "frames", ours, "NumPy", peer))
    return table


def write_all(drives: list[Episode], folder: Path) -> None:
    """Writes the drives to shards."""
    writer = Writer(folder, "bench")
    for drive in drives:
        writer.write(drive)
    writer.finish()


def with_latents(drives: list[Episode]) -> list[Episode]:
    """The drives with random latents instead of frames."""
    rng = np.random.default_rng(0)

    def latents(length: int) -> dict[str, np.ndarray]:
        shape = (length, bench_rnn.LATENT)
        return {"mu": rng.normal(size=shape).astype(np.float32), "logvar": np.full(shape, -2, np.float32)}

    return [replace(drive, observations=latents(drive.record.length)) for drive in drives]


def vae_loops(folder: Path) -> list[Row]:
    """Frames per second of the VAE's training, read from shards or selected on the device."""
    shards = Shards(folder)
    model = VAE(latent_size=bench_rnn.LATENT, widths=(16, 32, 64, 128), key=jr.key(0))
    order = FrameOrder(VAE_BATCH, BUFFER, seed=0)
    records = shards.kept()
    batches: dict[str, Iterator[Any]] = {"from shards": resident.frames_read(shards, records, order)}
    if resident.fits(ROOM):
        batches[ON_DEVICE] = resident.frames_picked(shards, records, order)
    rates = loops(model, vae.loss, batches, VAE_STEPS)
    return lines("V training", {name: VAE_BATCH * rate for name, rate in rates.items()}, "frames")


def rnn_loops(shards: Shards) -> list[Row]:
    """Steps per second of the RNN's training, read from shards or selected on the device."""
    records, shape = shards.kept(), bench_rnn.SHAPE

    def drawn(batcher: rnn_data.Batcher) -> Iterator[rnn.Batch]:
        return WindowBatches(batcher, records, [], 0.0, shape, [0]).draw(10**6)

    batches = {"from shards": drawn(partial(rnn_data.read_padded, shards, shape.steps))}
    if resident.fits(ROOM):
        batches[ON_DEVICE] = drawn(rnn_data.resident_batcher(shards, records, shape.steps))
    rates = loops(bench_rnn.network(0), bench_rnn.LOSS, batches, RNN_STEPS)
    return lines("M training", rates, "steps")


def lines(path: str, rates: dict[str, float], unit: str) -> list[Row]:
    """Rows of the loops, with the steps without loading as the limit."""
    steps = rates.pop(STEPS)
    return [
        Row(f"{path} {name}", unit, rate, "", 0.0, "its steps alone", steps) for name, rate in rates.items()
    ]


def loops(model: Any, loss: Callable, batches: dict[str, Iterator[Any]], steps: int) -> dict[str, float]:
    """Steps per second with each source of batches, and with one batch in memory, in alternation."""
    always = repeat(jax.tree.map(jnp.asarray, next(next(iter(batches.values())))))
    seconds = dict.fromkeys([*batches, STEPS], 0.0)
    running = {
        name: fit.updates(
            jax.tree.map(jnp.copy, model), loss, source, fit.adam(1e-3, 10_000, 10.0), key=jr.key(1)
        )
        for name, source in {**batches, STEPS: always}.items()
    }
    for fitting in running.values():
        next(fitting)  # compiles
    for _ in range(steps // 10):
        for name, fitting in running.items():
            began = time.perf_counter()
            for _ in islice(fitting, 10):
                pass
            seconds[name] += time.perf_counter() - began
    return {name: steps / time for name, time in seconds.items()}


if __name__ == "__main__":
    process.set_up()
    show(rows())
