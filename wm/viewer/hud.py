"""Text, bars and borders drawn beside pictures of a drive."""

import functools
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Colour = tuple[int, int, int]
Canvas = UInt8[np.ndarray, "_ _ 3"]

INK, DIM, DARK = (240, 240, 240), (150, 150, 150), (56, 56, 60)
BACKGROUND = (20, 20, 24)
REAL, DREAM, WARNING = (120, 220, 120), (196, 156, 255), (255, 176, 48)
STEERING, GAS, BRAKE = (110, 180, 255), (90, 200, 90), (235, 80, 80)
BOLD = 700


class Font(NamedTuple):
    """How text looks: height in pixels, colour, and weight (400 regular, 700 bold)."""

    size: int = 14
    colour: Colour = INK
    weight: int = 400

    def width(self, text: str) -> int:
        """Width of `text` in pixels."""
        (_, _, width, _) = cv2.getTextSize((0, 0), text, (0, 0), _face(), self.size, self.weight)
        return width


@functools.cache
def _face() -> cv2.FontFace:
    return cv2.FontFace("sans")


def canvas(height: int, width: int) -> Canvas:
    """An empty picture."""
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def write(on: Canvas, text: str, left: int, baseline: int, font: Font) -> None:
    """Draws `text`, its first letter at `left`, its baseline at row `baseline`."""
    cv2.putText(on, text, (left, baseline), font.colour, _face(), font.size, font.weight)


def paste(on: Canvas, picture: Canvas, left: int, top: int) -> None:
    """Draws `picture` with its upper left corner at (`left`, `top`)."""
    height, width, _ = picture.shape
    on[top : top + height, left : left + width] = picture


def border(on: Canvas, colour: Colour, thickness: int) -> None:
    """Draws a line of `thickness` pixels along the inner edge of a picture."""
    on[:thickness] = on[-thickness:] = colour
    on[:, :thickness] = on[:, -thickness:] = colour


def scaled(picture: Canvas, width: int, height: int) -> Canvas:
    """The picture, enlarged with bicubic interpolation."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def controls(action: Float[np.ndarray, "3"], width: int) -> UInt8[np.ndarray, "18 width 3"]:
    """Labelled bars: steering from the middle, gas and brake from the left."""
    row = canvas(18, width)
    third = width // 3
    for i, (name, colour) in enumerate(zip(("steer", "gas", "brake"), (STEERING, GAS, BRAKE), strict=True)):
        left, right = i * third + 44, (i + 1) * third - 10
        write(row, name, i * third, 13, Font(13, DIM))
        row[4:14, left:right] = DARK
        zero = (left + right) // 2 if i == 0 else left
        full = (right - left) // 2 if i == 0 else right - left
        end = zero + round(float(action[i]) * full)
        row[4:14, min(zero, end) : max(zero, end)] = colour
        row[2:16, zero : zero + 1] = INK
    return row
