"""Time to the same validation loss as PyTorch: `uv run --extra bench python -m bench.time_to_loss`.

Both libraries train the same network from the same initial weights on the same batches, in blocks of steps in
alternation, each with several settings, on the data of the project in the working directory (or `--data`).
`--model` is `vae` or `rnn`; each has a process of its own, since their stages use XLA with different flags.
The target is the highest of the sides' lowest losses, so that all reach it. Prints one CSV row for each side:
steps and seconds (wall-clock, and of the processor) until its validation loss was at the target, and their
ratios to those of the fastest PyTorch, above 1 where this side is faster. Seconds leave out validation and
compilation.
"""

import argparse
import csv
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from bench import process, torch_weights
from bench import rnn as bench_rnn
from bench import vae as bench_vae
from bench.__main__ import processor
from wm.data.batches import frame_batches
from wm.data.cached import CachedShards
from wm.data.shards import Shards
from wm.models import fit, rnn, rnn_data, vae
from wm.models.rnn_data import WindowBatches
from wm.models.vae import VAE
from wm.params.rounds import INIT
from wm.runtime import startup

CLIP = {"vae": 1000.0, "rnn": 10.0}  # global norm of gradients, as in the default profile
RATE = {"vae": 1e-3, "rnn": 8e-3}  # learning rates, as in the default profile


class Side(NamedTuple):
    """A library with its settings: a training step on a batch, and the validation loss."""

    train: Callable[[Any], object]
    validate: Callable[[], float]


class Point(NamedTuple):
    """A validation loss and what it took: steps, and wall-clock and processor seconds of training."""

    steps: int
    seconds: float
    processor: float
    loss: float


def race(sides: dict[str, Side], batches: Iterator[Any], blocks: int, every: int) -> dict[str, list[Point]]:
    """The curve of each side, in blocks of `every` steps. The first block compiles, so its time is taken to
    be that of the second one."""
    curves: dict[str, list[Point]] = {name: [] for name in sides}
    for block in range(blocks):
        chosen = list(islice(batches, every))
        for name, side in sides.items():
            wall, used = time.perf_counter(), time.process_time()
            for batch in chosen:
                side.train(batch)
            spent = time.perf_counter() - wall, time.process_time() - used
            before = curves[name][-1] if block else Point(0, 0.0, 0.0, 0.0)
            if block == 1:
                before = before._replace(seconds=spent[0], processor=spent[1])
                curves[name][-1] = before
            seconds, processor = before.seconds + spent[0], before.processor + spent[1]
            curves[name].append(Point(before.steps + every, seconds, processor, side.validate()))
        print({name: round(curve[-1].loss, 2) for name, curve in curves.items()}, file=sys.stderr)
    return curves


def table(model: str, curves: dict[str, list[Point]]) -> list[dict[str, str]]:
    """A row for each side: when it was at the loss that all sides reach."""
    target = max(min(point.loss for point in curve) for curve in curves.values())
    reached = {name: next(point for point in curve if point.loss <= target) for name, curve in curves.items()}
    peers = [point for name, point in reached.items() if name.startswith("PyTorch")]
    fastest = min(point.seconds for point in peers), min(point.processor for point in peers)
    return [
        {
            "machine": f"{processor()}, cores: {startup.cores()}",
            "model": model,
            "side": name,
            "validation_loss": f"{target:.2f}",
            "steps": str(point.steps),
            "seconds": f"{point.seconds:.1f}",
            "processor_seconds": f"{point.processor:.1f}",
            "ratio": f"{fastest[0] / point.seconds:.2f}",
            "processor_ratio": f"{fastest[1] / point.processor:.2f}",
        }
        for name, point in reached.items()
    ]


def ours(model: Any, loss: Callable, name: str, steps: int, validation: list[Any]) -> Side:
    """The model with the stages' optimiser."""
    optimiser = fit.adam(RATE[name], steps, CLIP[name])
    check = eqx.filter_jit(lambda model, batch: loss(model, batch, jr.key(1))[0])

    @eqx.filter_jit(donate="all-except-first")
    def update(batch: Any, model: Any, state: Any, key: jax.Array) -> Any:
        grads, metrics = eqx.filter_grad(loss, has_aux=True)(model, batch, key)
        updates, state = optimiser.update(grads, state)
        return eqx.apply_updates(model, updates), state, metrics["loss"]

    model = jax.tree.map(lambda leaf: leaf.copy() if eqx.is_array(leaf) else leaf, model)
    state, done = fit.start(optimiser, model), 0

    def train(batch: Any) -> None:
        nonlocal model, state, done
        model, state, total = update(batch, model, state, jr.fold_in(jr.key(2), done))
        total.block_until_ready()
        done += 1

    return Side(train, lambda: float(np.mean([check(model, batch) for batch in validation])))


def in_torch(
    networks: tuple[Any, Any], loss: Callable, name: str, steps: int, validation: list[Any], bfloat16: bool
) -> Side:
    """The same network, loss and optimiser in PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    parameters = [parameter for network in networks for parameter in network.parameters()]
    adam = torch.optim.Adam(parameters, lr=RATE[name])
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, eta_min=RATE[name] / 100)
    precision = partial(torch.autocast, "cpu", torch.bfloat16) if bfloat16 else nullcontext

    def train(batch: Any) -> None:
        with precision():
            total = loss(networks, batch)
        adam.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP[name])
        adam.step()
        cosine.step()
        total.item()

    @torch.no_grad()
    def validate() -> float:
        return float(np.mean([loss(networks, batch).item() for batch in validation]))

    return Side(train, validate)


def vae_sides(steps: int, validation: list[np.ndarray]) -> dict[str, Side]:
    """V of the default sizes, tone curve apart."""
    model = VAE(latent_size=bench_vae.LATENT, widths=bench_vae.SMALL, key=jr.key(0))
    sides = {"ours, float32": ours(model, vae.loss, "vae", steps, validation)}
    if importlib.util.find_spec("torch"):
        import torch  # pyright: ignore[reportMissingImports]

        for layout, bfloat16 in (("", False), (", channels last", False), ("", True)):
            networks = bench_vae.torch_networks(bench_vae.SMALL)
            torch_weights.put_vae(networks, model)
            if layout:
                networks[0].to(memory_format=torch.channels_last)
                networks[1].to(memory_format=torch.channels_last)
            loss = partial(vae_loss_in_torch, channels_last=bool(layout))
            name = f"PyTorch, {'bfloat16' if bfloat16 else 'float32'}{layout}"
            sides[name] = in_torch(networks, loss, "vae", steps, validation, bfloat16)
    return sides


def vae_loss_in_torch(networks: tuple[Any, Any], frames: np.ndarray, *, channels_last: bool) -> Any:
    """The loss of a batch of frames."""
    return bench_vae.torch_loss(networks, bench_vae.torch_frames(frames, channels_last=channels_last))


def rnn_loss_in_torch(networks: tuple[Any, Any], batch: rnn.Batch) -> Any:
    """The loss of a batch of drives."""
    return bench_rnn.torch_sampled_loss(networks, bench_rnn.torch_batch(batch))


def rnn_sides(steps: int, validation: list[rnn.Batch]) -> dict[str, Side]:
    """M of the default sizes."""
    model, sides = bench_rnn.network(0), {}
    for precision in bench_rnn.PRECISIONS:
        loss = rnn.with_rounded_weights(bench_rnn.LOSS, precision)
        sides[f"ours, {precision}"] = ours(model, loss, "rnn", steps, validation)
    if importlib.util.find_spec("torch"):
        for precision in bench_rnn.PRECISIONS:
            networks = bench_rnn.torch_networks()
            torch_weights.put_rnn(networks, model)
            bfloat16 = precision == "bfloat16"
            side = in_torch(networks, rnn_loss_in_torch, "rnn", steps, validation, bfloat16)
            sides[f"PyTorch, {precision}"] = side
    return sides


def frames(data: Path) -> tuple[Iterator[np.ndarray], list[np.ndarray]]:
    """Endless batches of frames, and those of the validation tracks."""
    shards = Shards(data / "processed" / INIT)
    sides = [
        frame_batches(
            shards,
            shards.kept(validation=validation),
            batch_size=bench_vae.BATCH,
            buffer_episodes=16,
            seed=1,
        )
        for validation in (False, True)
    ]
    return sides[0], list(islice(sides[1], 5))


def drives(data: Path) -> tuple[Iterator[rnn.Batch], list[rnn.Batch]]:
    """Endless batches of windows of drives, and some on validation tracks."""
    shards = CachedShards(data / "latents" / INIT)
    sides = []
    for validation in (False, True):
        records = shards.kept(validation=validation)
        batcher = rnn_data.batcher(shards, records, bench_rnn.SHAPE.steps)
        sides.append(WindowBatches(batcher, records, [], 0.0, bench_rnn.SHAPE, [1]).draw(10**6))
    return sides[0], list(islice(sides[1], 5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["vae", "rnn"], default="vae")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--every", type=int, default=20, help="steps between two validation losses")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the project's folder of data")
    arguments = parser.parse_args()
    if arguments.model == "vae":
        startup.convolve_without_ynnpack()
    read, sides_of = {"vae": (frames, vae_sides), "rnn": (drives, rnn_sides)}[arguments.model]
    batches, validation = read(arguments.data)
    sides = sides_of(arguments.steps, validation)
    curves = race(sides, batches, arguments.steps // arguments.every, arguments.every)
    rows = table({"vae": "V", "rnn": "M"}[arguments.model], curves)
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


if __name__ == "__main__":
    process.set_up()
    main()
