"""A film of an episode: each frame, its reconstruction by V, and M's prediction of it one step before."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from wm.agent.agent import Agent
from wm.data.episode import Episode
from wm.errors import Halted
from wm.models import mdn, rnn
from wm.runtime import files
from wm.runtime.startup import stderr_discarded
from wm.viewer.pictures import enlarged, to_bytes

SIDE = 128  # of one picture, pixels; encoding a film takes time in proportion to its area
LINE_HEIGHT = 18  # of the caption, pixels
Picture = UInt8[np.ndarray, "height width 3"]


def shots(agent: Agent, episode: Episode) -> list[Picture]:
    """One picture per step: real frame | reconstruction | prediction made one step before."""
    frames = episode.observations["frame"]
    decoded, predicted, rewards = _decode(agent, jnp.asarray(frames), jnp.asarray(episode.actions))
    scores = episode.record.warm_up_reward + np.cumsum(episode.rewards)
    pictures = []
    for step, (frame, score) in enumerate(zip(frames, scores, strict=True)):
        row = [frame, to_bytes(np.asarray(decoded[step])), to_bytes(np.asarray(predicted[step]))]
        picture = np.concatenate([enlarged(part, SIDE) for part in row], axis=1)
        result = f"step {step}  score {score:.0f}  predicted reward {rewards[step]:+.1f}"
        steering, gas, brake = episode.actions[step]
        action = f"steering {steering:+.2f}  gas {gas:.2f}  brake {brake:.2f}"
        pictures.append(_captioned(picture, [result, action]))
    return pictures


@eqx.filter_jit
def _decode(agent: Agent, frames: jax.Array, actions: jax.Array) -> tuple[jax.Array, ...]:
    z, _ = jax.vmap(agent.vae.encode)(frames)
    hidden = rnn.unroll(agent.rnn, z[None], actions[None]).hidden[:, 0]
    prediction = agent.rnn.predict(hidden)
    # no prediction exists for the first frame
    predicted = jnp.concatenate([z[:1], mdn.expectation(prediction.mixture)[:-1]])
    decode = jax.vmap(agent.vae.decode)
    return decode(z), decode(predicted), prediction.reward


def strip(pictures: Sequence[Picture], count: int = 6) -> np.ndarray:
    """`count` evenly spaced pictures as one, in two columns that are read from top to bottom."""
    selected = [pictures[i] for i in np.linspace(0, len(pictures) - 1, count).astype(int)]
    half = count // 2
    columns = [np.concatenate(selected[:half]), np.concatenate(selected[half : 2 * half])]
    return np.concatenate(columns, axis=1)


def _captioned(picture: Picture, lines: Sequence[str]) -> np.ndarray:
    """The picture below black lines with white text."""
    bar = np.zeros((LINE_HEIGHT * len(lines), picture.shape[1], 3), np.uint8)
    for i, line in enumerate(lines):
        at = (4, LINE_HEIGHT * (i + 1) - 5)
        cv2.putText(bar, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([bar, picture])


def write_video(path: Path, pictures: Sequence[Picture], per_second: float) -> None:
    """Writes RGB pictures as WebM (VP8), which every browser plays; the same pictures give the same bytes.

    Raises Halted where not all of them could be written.
    """
    height, width, _ = pictures[0].shape
    with files.replacing(path) as unfinished:
        film = unfinished.with_name("drawn.webm")
        with stderr_discarded():  # OpenCV says that WebM has no tag VP80; with this tag it writes no WebM
            writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"VP80"), per_second, (width, height))
        for picture in pictures:
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
        writer.release()
        if (written := _length(film)) != len(pictures):  # the encoder does not report a full disk
            raise Halted(f"{path}: only {written} of {len(pictures)} pictures could be written")
        unfinished.write_bytes(_without_random_ids(film.read_bytes()))


def _length(film: Path) -> int:
    """Number of pictures that can be read from a film."""
    reader, count = cv2.VideoCapture(str(film)), 0
    while reader.grab():
        count += 1
    return count


def _without_random_ids(webm: bytes) -> bytes:
    """The file with 1 as the track's id, for which the encoder draws a random number."""
    for mark in (b"\x73\xc5\x88", b"\x63\xc5\x88"):  # TrackUID, TagTrackUID, of 8 bytes each
        at = webm.index(mark) + len(mark)
        webm = webm[:at] + (1).to_bytes(8, "big") + webm[at + 8 :]
    return webm


def write_animation(path: Path, pictures: Sequence[Picture], per_second: float, quality: int = 70) -> None:
    """Writes RGB pictures as an animated WebP that repeats forever."""
    animation = cv2.Animation()
    animation.frames = [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures]
    animation.durations = [round(1000 / per_second)] * len(pictures)
    encoded = cv2.imencodeanimation(".webp", animation, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    with files.replacing(path) as unfinished:
        unfinished.write_bytes(encoded.tobytes())
