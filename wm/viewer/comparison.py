"""A film of one real drive beside its dream: from the same start, under the same actions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from wm.dream.dynamics import Rules
from wm.params.environment import Environment
from wm.runtime import files
from wm.spec import FPS
from wm.track.renderer import shrink
from wm.viewer import film, hud, pictures, scenes
from wm.viewer.hud import Canvas
from wm.viewer.scenes import DreamWorld, Minds, RealWorld, Scene

WIDTH, HEIGHT, GAP = 256, 224, 8  # of a column's picture, as wide and high as what is seen of the track
HEAD, FIGURES, CONTROLS, CURVES = 28, 50, 24, 74
SEES = "sees reality"
GLOW = 8  # steps for which an anchoring stays marked
WEBP_QUALITY = 70


class Moment(NamedTuple):
    """A step of the drive: what there is to see, the action that led here, and how the dream is doing."""

    real: Scene
    dream: Scene
    reconstruction: UInt8[np.ndarray, "64 64 3"]
    action: Float[np.ndarray, "3"]
    dreamt: int
    """Steps since the dream last saw reality."""


def anchored(step: int, warm: int, dream_steps: int) -> bool:
    """Whether the dream sees reality at `step`: at the first `warm`, and every `dream_steps` (0: never)
    from the last of them on."""
    return step < warm or (dream_steps > 0 and (step - (warm - 1)) % dream_steps == 0)


def moments(
    minds: Minds,
    environment: Environment,
    rules: Rules,
    *,
    seed: int,
    steps: int,
    warm: int,
    dream_steps: int,
) -> Iterator[Moment]:
    """The agent's drive on the track of `seed`, `steps` steps of it at most, and its dream: (1 + steps).

    The dream's score is the real one where it last saw reality, and what it has promised since. Without
    a number of `steps`, 0, it is the whole drive.
    """
    real, dream = RealWorld(minds, environment), DreamWorld(minds, rules, seed)
    dream.restart(real.restart(seed))
    action, dreamt, step = np.zeros(3, np.float32), 0, 0
    yield Moment(real.now, dream.now, dream.now.picture, action, dreamt)
    while not real.now.ending and (steps == 0 or step < steps):
        step += 1
        action = scenes.choose(minds, real.now)
        scene = real.step(action)
        if anchored(step, warm, dream_steps):
            dreamt = 0
            dream.restart(scene)
        else:
            dreamt += 1
            if not dream.now.ending:
                dream.step(action)
        yield Moment(scene, dream.now, scenes.reconstruction(minds, scene.state), action, dreamt)


def told(last: Moment, warm: int, dream_steps: int) -> str:
    """What the dream came to, and why that is no forecast: it follows the real drive's actions blindly."""
    until = "to the end" if dream_steps == 0 else f"with a look at it every {dream_steps}"
    return (
        f"dream {last.dream.score:.0f}, on its own after {warm} real steps, {until}: the drive's actions"
        f" on road that it makes up"
    )


def draw(drive: Sequence[Moment]) -> Iterator[Canvas]:
    """A picture for each moment: real frame | reconstruction | dream; figures, controls and scores below."""
    curves, glow = _curves(drive), 0
    for step, moment in enumerate(drive):
        glow = GLOW if moment.dreamt == 0 else max(glow - 1, 0)
        on = hud.canvas(HEAD + HEIGHT + FIGURES + CONTROLS + CURVES, 3 * WIDTH + 4 * GAP)
        for i, column in enumerate(_columns(moment, step, len(drive) - 1)):
            left = GAP + i * (WIDTH + GAP)
            column.draw(on[: HEAD + HEIGHT + FIGURES, left : left + WIDTH])
        if glow:
            right = on.shape[1] - GAP
            hud.frame(on, right - WIDTH, HEAD, right, HEAD + HEIGHT, hud.WARNING, thick=1 + glow // 2)
        controls = hud.controls(moment.action, on.shape[1] - 2 * GAP)
        hud.paste(on, controls, GAP, HEAD + HEIGHT + FIGURES)
        curve = curves.copy()
        curve[:, _place(step, drive)] = hud.INK
        hud.paste(on, curve, GAP, on.shape[0] - CURVES)
        yield on


class _Column(NamedTuple):
    """A picture with its name, what is said beside the name, and two lines of figures below."""

    name: str
    colour: hud.Colour
    picture: Canvas
    remark: str
    figures: tuple[str, str]

    def draw(self, on: Canvas) -> None:
        hud.write(on, self.name, 0, 20, 16, self.colour, 700)
        colour = hud.WARNING if self.remark == SEES else hud.DIM
        hud.write(on, self.remark, WIDTH - hud.text_width(self.remark, 13), 20, 13, colour)
        hud.paste(on, hud.scaled(self.picture, WIDTH, HEIGHT), 0, HEAD)
        hud.write(on, self.figures[0], 0, HEAD + HEIGHT + 22, 18, hud.INK, 700)
        hud.write(on, self.figures[1], 0, HEAD + HEIGHT + 42, 14, hud.DIM)


def _columns(moment: Moment, step: int, steps: int) -> list[_Column]:
    real, dream = moment.real, moment.dream
    time = f"{real.frames / FPS:.1f} s"
    happened = real.ending or (f"reward {real.reward:+.1f}" if step else "")
    expected = f"reward {real.expected:+.1f} expected by M" if step else ""
    promised = dream.ending or (f"reward {dream.reward:+.1f} predicted" if moment.dreamt else "")
    remark = f"on its own for {moment.dreamt} steps" if moment.dreamt else SEES
    return [
        _Column("real", hud.REAL, shrink(real.picture), time, (f"score {real.score:.0f}", happened)),
        _Column(
            "reconstruction",
            hud.INK,
            moment.reconstruction,
            f"step {step} of {steps}",
            ("", expected),
        ),
        _Column("dream", hud.DREAM, dream.picture, remark, (f"score {dream.score:.0f}", promised)),
    ]


def _place(step: int, drive: Sequence[Moment]) -> int:
    """Where along the curves a step is."""
    return round(step * (3 * WIDTH + 2 * GAP - 1) / max(len(drive) - 1, 1))


def _curves(drive: Sequence[Moment]) -> Canvas:
    """Both scores over the whole drive, and a mark wherever the dream was set back to reality."""
    on = hud.canvas(CURVES - GAP, 3 * WIDTH + 2 * GAP)
    height = on.shape[0]
    scores = {
        hud.REAL: [moment.real.score for moment in drive],
        hud.DREAM: [moment.dream.score for moment in drive],
    }
    lowest = min(min(line) for line in scores.values())
    span = max(max(max(line) for line in scores.values()) - lowest, 1.0)
    for step, moment in enumerate(drive):
        if moment.dreamt == 0:
            on[-4:, _place(step, drive)] = hud.WARNING
    for colour, line in scores.items():
        points = [
            (_place(step, drive), round((height - 8) * (1 - (score - lowest) / span)) + 1)
            for step, score in enumerate(line)
        ]
        cv2.polylines(on, [np.array(points, np.int32)], False, colour, 1, cv2.LINE_AA)
    for left, name, colour in (
        (2, "score", hud.DIM),
        (40, "real", hud.REAL),
        (68, "dream", hud.DREAM),
    ):
        hud.write(on, name, left, 12, 12, colour)
    return on


def write(folder: Path, shown: Sequence[Canvas], per_second: float) -> list[Path]:
    """film.webm, film.webp and strip.png (six moments) in `folder`."""
    paths = [folder / name for name in ("film.webm", "film.webp", "strip.png")]
    film.write_video(paths[0], list(shown), per_second)
    write_animation(paths[1], shown, per_second)
    pictures.write_png(paths[2], film.strip(list(shown)))
    return paths


def write_animation(path: Path, shown: Sequence[Canvas], per_second: float) -> None:
    """RGB pictures as an animated WebP that repeats for ever."""
    animation = cv2.Animation()
    animation.frames = [np.ascontiguousarray(picture[..., ::-1]) for picture in shown]
    animation.durations = [round(1000 / per_second)] * len(shown)
    encoded = cv2.imencodeanimation(".webp", animation, [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])[1]
    with files.replacing(path) as unfinished:
        unfinished.write_bytes(encoded.tobytes())
