"""Still pictures: conversion, enlargement, PNG files."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from wm.runtime import files


def to_bytes(frames: Float[np.ndarray, "*batch height width 3"]) -> UInt8[np.ndarray, "..."]:
    """Floats in [0, 1] as RGB bytes."""
    return np.clip(np.rint(np.asarray(frames) * 255), 0, 255).astype(np.uint8)


def enlarged(frame: UInt8[np.ndarray, "height width 3"], side: int) -> np.ndarray:
    """The frame as a square of `side` pixels, without interpolation."""
    return cv2.resize(frame, (side, side), interpolation=cv2.INTER_NEAREST)


def write_reconstructions(
    path: Path,
    frames: Float[np.ndarray, "n height width 3"],
    reconstructions: Float[np.ndarray, "n height width 3"],
) -> None:
    """Writes a PNG: frames in the upper row, their reconstructions in the lower."""
    rows = [to_bytes(frames), to_bytes(reconstructions)]
    picture = np.concatenate(
        [np.concatenate([enlarged(frame, 128) for frame in row], axis=1) for row in rows]
    )
    write_png(path, picture)


def write_png(path: Path, picture: UInt8[np.ndarray, "height width 3"]) -> None:
    """Writes an RGB picture as PNG."""
    encoded = cv2.imencode(".png", picture[..., ::-1])[1]
    with files.replacing(path) as unfinished:
        unfinished.write_bytes(encoded.tobytes())
