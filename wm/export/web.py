"""The page on which a person drives inside the dream: web/ and an agent's weights in one HTML file."""

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from wm.agent import agent
from wm.agent.agent import Agent, Models
from wm.dream.dynamics import Rules
from wm.dream.starts import FirstSight, read_starts
from wm.errors import BadInput
from wm.models import mdn, rnn
from wm.models.rnn import RNN
from wm.runtime import files
from wm.spec import FAILURE_REWARD, FPS, FRAME_REWARD, FRAMES_PER_EPISODE, LAP_POINTS

SOURCES = Path(__file__).parents[2] / "web"
MOST_BYTES = 8_000_000
MOST_STARTS = 32
INT8_MAX = 127
WEIGHTS = ("float16", "int8")


def export(folder: Path, out: Path, precision: str, rules: Rules) -> int:
    """Writes the page of the agent in `folder` to `out`, and returns its size in bytes.

    Raises BadInput where the agent, its starts or the page's sources are missing or unfit, where the
    page would be larger than `MOST_BYTES`, or where `out` cannot be written.
    """
    if rules.sampling not in ("sampled", "denoised"):
        found = f"{folder}/dream.json: sampling: found {rules.sampling!r}"
        raise BadInput(f"{found}, wanted 'sampled' or 'denoised'")
    models = Models.within(folder).load()
    simulators = agent.simulators(folder, models)
    environment = agent.environment(folder)
    starts = read_starts(folder / "starts.npz", models.vae.latent_size)
    model = {
        "precision": precision,
        "sizes": sizes(models, simulators, rules),
        "rules": rules_of_play(rules, environment.warm_up_frames),
        "starts": described_starts(starts),
        "tensors": [described(name, leaf, precision) for name, leaf in named_leaves(models, simulators)],
    }
    page = assembled(json.dumps(model, separators=(",", ":"), allow_nan=False)).encode()
    if len(page) > MOST_BYTES:
        found = f"{out}: would have {len(page) / 1e6:.1f} MB as {precision}"
        raise BadInput(f"{found}, wanted at most {MOST_BYTES / 1e6:.0f}. Try --weights int8.")
    try:
        with files.replacing(out) as unfinished:
            unfinished.write_bytes(page)
    except OSError as error:
        raise BadInput(f"{out}: cannot be written ({error.strerror}), wanted a file's path") from None
    return len(page)


def described_starts(starts: FirstSight) -> dict[str, Any]:
    """At most `MOST_STARTS` of them, evenly chosen, as lists."""
    count = min(len(starts.mu), MOST_STARTS)
    chosen = np.linspace(0, len(starts.mu) - 1, count).round().astype(int)
    return {name: np.asarray(part)[chosen].round(4).tolist() for name, part in starts._asdict().items()}


def sizes(models: Agent, simulators: Sequence[RNN], rules: Rules) -> dict[str, Any]:
    """What the page needs to know beside the tensors' own shapes."""
    controller = models.controller
    return {
        "simulators": len(simulators),
        "mixtures": models.rnn.mixtures,
        "widths": list(models.vae.widths),
        "tones": [list(point) for point in models.vae.tones],
        "pedals": controller.pedals,
        "limits": [list(pair) for pair in controller.limits],
        "reward_unit": rnn.REWARD_UNIT,
        "min_log_sigma": rnn.MIN_LOG_SIGMA,
        "encoder_variance": list(rules.encoder_variance),
        "least_variance": mdn.LEAST_VARIANCE,
    }


def rules_of_play(rules: Rules, warm_up_frames: int) -> dict[str, float]:
    """The dream's and the episode's rules, as `as_episodes` has them."""
    return {
        "temperature": rules.temperature,
        "patience": rules.patience,
        "action_repeat": rules.action_repeat,
        "warm_up_frames": warm_up_frames,
        "frames_per_second": FPS,
        "frames_per_episode": FRAMES_PER_EPISODE,
        "frame_reward": FRAME_REWARD,
        "failure_reward": FAILURE_REWARD,
        "lap_points": LAP_POINTS,
        "stuck_below": rnn.REWARD_UNIT,
    }


def named_leaves(models: Agent, simulators: Sequence[RNN]) -> Iterator[tuple[str, np.ndarray]]:
    """All arrays that dreaming and watching need; the encoder is not among them."""
    parts = {f"simulator{i}": simulator for i, simulator in enumerate(simulators)}
    parts |= {
        "watcher": models.rnn,
        "controller": models.controller,
        "decoder": {"from_latent": models.vae.from_latent, "up": models.vae.up},
    }
    unused = ("watcher.head_weight", "watcher.head_bias")  # nobody asks the watcher what comes next
    for path, leaf in jax.tree_util.tree_leaves_with_path(parts):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name not in unused:
            yield name, np.asarray(leaf)


def described(name: str, leaf: Float[np.ndarray, "..."], precision: str) -> dict[str, Any]:
    """A tensor for the page: name, shape, kind, numbers in base64, and for int8 a scale a column."""
    if leaf.ndim == 1:
        return {"name": name, "shape": leaf.shape, "kind": "float32", "data": encoded(leaf, "<f4")}
    if precision == "float16":
        return {"name": name, "shape": leaf.shape, "kind": precision, "data": encoded(leaf, "<f2")}
    codes, scale = quantised(leaf)
    coded = {"data": encoded(codes, "i1"), "scale": encoded(scale, "<f4")}
    return {"name": name, "shape": leaf.shape, "kind": precision, **coded}


def encoded(numbers: np.ndarray, kind: str) -> str:
    """The numbers' bytes in base64."""
    return base64.b64encode(np.ascontiguousarray(numbers, kind).tobytes()).decode()


def quantised(
    weight: Float[np.ndarray, "*rows column"],
) -> tuple[Integer[np.ndarray, "*rows column"], Float[np.ndarray, " column"]]:
    """Whole numbers in [-127, 127], and for each index of the last axis what one of them is worth."""
    scale = np.abs(weight).max(axis=tuple(range(weight.ndim - 1))) / INT8_MAX
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale


def as_the_page_has_it(model: Any, precision: str) -> Any:
    """The model with its weights, but not its biases, rounded as the page has them."""

    def rounded(weight: np.ndarray) -> jax.Array:
        if precision == "float16":
            return jnp.asarray(weight.astype(np.float16).astype(np.float32))
        codes, scale = quantised(weight)
        return jnp.asarray(codes * scale)

    return jax.tree.map(lambda leaf: rounded(np.asarray(leaf)) if leaf.ndim > 1 else leaf, model)


def assembled(model: str) -> str:
    """The page with all that it names in itself: style, scripts, the worker's text, the model."""
    dreaming = source("model.js") + source("worker.js")
    parts = {
        '<link rel="stylesheet" href="style.css">': f"<style>\n{source('style.css')}</style>",
        '<script src="page.js"></script>': f"<script>\n{source('page.js')}</script>",
        '<script id="worker"></script>': f'<script id="worker" type="text/plain">\n{dreaming}</script>',
        '<script id="model"></script>': f'<script id="model" type="application/json">{model}</script>',
    }
    page = source("page.html")
    for mark, part in parts.items():
        if page.count(mark) != 1:
            raise BadInput(f"{SOURCES / 'page.html'}: found {page.count(mark)} of {mark}, wanted 1")
        page = page.replace(mark, part)
    return page


def source(name: str) -> str:
    """A file of web/. Raises BadInput where it is missing, or would end a script early."""
    path = SOURCES / name
    if not path.exists():
        raise BadInput(f"{path}: not found. `wm export-web` needs web/ of the repository.")
    text = path.read_text(encoding="utf-8")
    if name.endswith(".js") and "</script" in text:
        raise BadInput(f"{path}: found </script, which ends a script inside a page")
    return text
