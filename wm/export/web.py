"""The web page on which a person drives in the dream: web/ and an agent's weights in one HTML file."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from wm.agent.agent import Agent
from wm.agent.folder import AgentFolder
from wm.dream.dynamics import Rules
from wm.dream.starts import StartFrames
from wm.errors import BadInput
from wm.export.output import replacing
from wm.models import mdn, rnn
from wm.models.rnn import RNN
from wm.packaged import packaged, restoring
from wm.runtime.base64_text import base64_text
from wm.spec import FAILURE_REWARD, FPS, FRAME_REWARD, FRAMES_PER_EPISODE, LAP_POINTS, TILE_POINTS

SOURCES = packaged("web")
MAX_BYTES = 8_000_000
MAX_STARTS = 32
INT8_MAX = 127
WEIGHTS = ("float16", "int8")


def export(folder: Path, out: Path, precision: str, rules: Rules | None = None) -> int:
    """Writes the page of the agent in `folder` to `out`; returns its size in bytes. The rules are the agent's
    unless given.

    Raises BadInput where the agent, its start frames or the page's sources are missing or damaged, where its
    sampling is not supported, where the page is larger than `MAX_BYTES`, or where `out` cannot be written.
    """
    agent_folder = AgentFolder(folder)
    agent = agent_folder.agent()
    dream = agent_folder.dream(agent)
    rules = rules or dream.rules
    if rules.sampling not in ("sampled", "denoised"):
        found = f"{folder}/dream.json: rules.sampling: found {rules.sampling!r}"
        raise BadInput(f"{found}, expected 'sampled' or 'denoised'")
    leaves = named_leaves(agent, dream.simulators)
    content = {
        "precision": precision,
        "sizes": sizes(agent, dream.simulators, rules),
        "rules": episode_rules(rules, dream.warm_up_frames),
        "starts": start_lists(agent_folder.starts(agent.vae.latent_size)),
        "tensors": [packed(name, leaf, precision) for name, leaf in leaves],
    }
    page = assembled(json.dumps(content, separators=(",", ":"), allow_nan=False)).encode()
    if len(page) > MAX_BYTES:
        found = f"{out}: the page would have {len(page) / 1e6:.1f} MB with {precision} weights"
        raise BadInput(f"{found}, expected at most {MAX_BYTES / 1e6:.0f}. Try --weights int8.")
    with replacing(out) as unfinished:
        unfinished.write_bytes(page)
    return len(page)


def start_lists(starts: StartFrames) -> dict[str, Any]:
    """At most `MAX_STARTS` start frames, evenly spaced, as lists."""
    count = min(len(starts.mu), MAX_STARTS)
    chosen = np.linspace(0, len(starts.mu) - 1, count).round().astype(int)
    return {name: np.asarray(part)[chosen].round(4).tolist() for name, part in starts._asdict().items()}


def sizes(agent: Agent, simulators: Sequence[RNN], rules: Rules) -> dict[str, Any]:
    """Sizes and constants of the models beyond the shapes of their tensors."""
    controller = agent.controller
    return {
        "simulators": len(simulators),
        "mixtures": agent.rnn.mixtures,
        "widths": list(agent.vae.widths),
        "tones": [list(point) for point in agent.vae.tones],
        "pedals": controller.pedals,
        "limits": [list(pair) for pair in controller.limits],
        "reward_unit": rnn.REWARD_UNIT,
        "min_log_sigma": rnn.MIN_LOG_SIGMA,
        "encoder_variance": list(rules.encoder_variance),
        "noisy_simulator": rules.noisy_simulator,
        "least_variance": mdn.MIN_VARIANCE,
    }


def episode_rules(rules: Rules, warm_up_frames: int) -> dict[str, float]:
    """The rules of `wm.dream.dynamics` and its constants."""
    return {
        "temperature": rules.temperature,
        "stuck_steps": rules.stuck_steps,
        "action_repeat": rules.action_repeat,
        "warm_up_frames": warm_up_frames,
        "frames_per_second": FPS,
        "frames_per_episode": FRAMES_PER_EPISODE,
        "frame_reward": FRAME_REWARD,
        "failure_reward": FAILURE_REWARD,
        "lap_points": LAP_POINTS,
        "tile_points": TILE_POINTS,
        "stuck_below": rnn.REWARD_UNIT,
    }


def named_leaves(agent: Agent, simulators: Sequence[RNN]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of the simulators, the last of which is the agent's own RNN, of controller and decoder."""
    parts = {f"simulator{i}": simulator for i, simulator in enumerate(simulators)}
    parts |= {
        "controller": agent.controller,
        "decoder": {"from_latent": agent.vae.from_latent, "up": agent.vae.up},
    }
    for path, leaf in jax.tree_util.tree_leaves_with_path(parts):
        yield jax.tree_util.keystr(path, simple=True, separator="."), np.asarray(leaf)


def packed(name: str, leaf: Float[np.ndarray, "..."], precision: str) -> dict[str, Any]:
    """A tensor for the page: name, shape, kind, numbers in base64, and for int8 one scale per column."""
    if leaf.ndim == 1:
        return {"name": name, "shape": leaf.shape, "kind": "float32", "data": encoded(leaf, "<f4")}
    if precision == "float16":
        return {"name": name, "shape": leaf.shape, "kind": precision, "data": encoded(leaf, "<f2")}
    codes, scale = quantised(leaf)
    coded = {"data": encoded(codes, "i1"), "scale": encoded(scale, "<f4")}
    return {"name": name, "shape": leaf.shape, "kind": precision, **coded}


def encoded(numbers: np.ndarray, kind: str) -> str:
    """The numbers as type `kind`, in base64."""
    return base64_text(np.ascontiguousarray(numbers, kind).tobytes())


def quantised(
    weight: Float[np.ndarray, "*rows column"],
) -> tuple[Integer[np.ndarray, "*rows column"], Float[np.ndarray, " column"]]:
    """Integers in [-127, 127], and their scale for each index of the last axis."""
    scale = np.abs(weight).max(axis=tuple(range(weight.ndim - 1))) / INT8_MAX
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale


def rounded_weights(model: Any, precision: str) -> Any:
    """The model with its weights rounded as on the page; biases are not rounded."""

    def rounded(weight: np.ndarray) -> jax.Array:
        if precision == "float16":
            return jnp.asarray(weight.astype(np.float16).astype(np.float32))
        codes, scale = quantised(weight)
        return jnp.asarray(codes * scale)

    return jax.tree.map(lambda leaf: rounded(np.asarray(leaf)) if leaf.ndim > 1 else leaf, model)


def assembled(model: str) -> str:
    """page.html with the style, the scripts, the worker's source and the model inside."""
    worker = web_file("model.js") + web_file("worker.js")
    parts = {
        '<link rel="stylesheet" href="style.css">': f"<style>\n{web_file('style.css')}</style>",
        '<script src="page.js"></script>': f"<script>\n{web_file('page.js')}</script>",
        '<script id="worker"></script>': f'<script id="worker" type="text/plain">\n{worker}</script>',
        '<script id="model"></script>': f'<script id="model" type="application/json">{model}</script>',
    }
    page = web_file("page.html")
    for mark, part in parts.items():
        if page.count(mark) != 1:
            raise BadInput(f"{SOURCES / 'page.html'}: found {page.count(mark)} of {mark}, expected 1")
        page = page.replace(mark, part)
    return page


def web_file(name: str) -> str:
    """The text of a file of web/. Raises BadInput where it is missing or would end a script element early."""
    path = SOURCES / name
    if not path.exists():
        raise BadInput(f"{path}: not found. {restoring(path)}")
    text = path.read_text(encoding="utf-8")
    if name.endswith(".js") and "</script" in text:
        raise BadInput(f"{path}: found </script, which would end the script element of the page")
    return text
