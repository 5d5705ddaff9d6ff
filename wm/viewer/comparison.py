"""`wm watch`: one real drive beside its dream, from the same start and under the same actions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from wm.spec import FPS
from wm.track.renderer import shrink
from wm.viewer import film, hud, pictures, scenes
from wm.viewer.hud import BOLD, Canvas, Font
from wm.viewer.scenes import DreamWorld, Models, RealWorld, Scene

WIDTH, HEIGHT, GAP = 256, 224, 8  # of a column's picture, with the aspect ratio of the track's view
HEAD, FIGURES, CONTROLS, CURVES = 28, 50, 24, 74  # heights of the other rows
CURVE_WIDTH = 3 * WIDTH + 2 * GAP
SYNCED = "synchronised"
BORDER_STEPS = 8  # steps for which the border that marks a synchronisation stays visible


class FilmPlan(NamedTuple):
    """What to film."""

    seed: int
    """Of the track."""
    steps: int
    """At most; 0: the whole drive."""
    warm_steps: int
    """First steps during which the dream is set to the state of the real drive."""
    dream_steps: int
    """Steps after which it is set to the real state again; 0: never."""

    def synced(self, step: int) -> bool:
        """Whether the dream is set to the real state at `step`."""
        if step < self.warm_steps:
            return True
        return self.dream_steps > 0 and (step - (self.warm_steps - 1)) % self.dream_steps == 0


class Moment(NamedTuple):
    """A step of the drive and of the dream, and the action before it."""

    real: Scene
    dream: Scene
    reconstruction: UInt8[np.ndarray, "64 64 3"]
    action: Float[np.ndarray, "3"]
    dreamt_steps: int
    """Steps since the dream was last set to the real state."""


def moments(models: Models, plan: FilmPlan) -> Iterator[Moment]:
    """The agent's drive and its dream: the start and at most `plan.steps` steps.

    The dream's score is the real score at the last synchronisation plus the rewards predicted since.
    """
    real, dream = RealWorld(models), DreamWorld(models, plan.seed)
    dream.restart(real.restart(plan.seed))
    action, dreamt_steps, step = np.zeros(3, np.float32), 0, 0
    yield Moment(real.now, dream.now, dream.now.picture, action, dreamt_steps)
    while not real.now.ending and (plan.steps == 0 or step < plan.steps):
        step += 1
        action = scenes.choose(models, real.now)
        scene = real.step(action)
        if plan.synced(step):
            dreamt_steps = 0
            dream.restart(scene)
        else:
            dreamt_steps += 1
            if not dream.now.ending:
                dream.step(action)
        yield Moment(scene, dream.now, scenes.reconstruction(models, scene.state), action, dreamt_steps)


def summary(last: Moment, plan: FilmPlan) -> str:
    """One line: both scores, and why the dream's is no forecast of the real one."""
    again = f", then set to the real state every {plan.dream_steps} steps" if plan.dream_steps else ""
    return (
        f"real {last.real.score:.0f}; dream {last.dream.score:.0f}, synchronised for {plan.warm_steps}"
        f" steps{again}. The dream repeats the actions of the real drive on a road of its own, so its score"
        f" is no forecast."
    )


def draw(drive: Sequence[Moment]) -> Iterator[Canvas]:
    """One picture per moment: real frame | reconstruction | dream, with figures, controls and scores."""
    curves, border = _curves(drive), 0
    for step, moment in enumerate(drive):
        border = BORDER_STEPS if moment.dreamt_steps == 0 else max(border - 1, 0)
        on = hud.canvas(HEAD + HEIGHT + FIGURES + CONTROLS + CURVES, CURVE_WIDTH + 2 * GAP)
        for i, column in enumerate(_columns(moment, step, len(drive) - 1)):
            left = GAP + i * (WIDTH + GAP)
            column.draw(on[: HEAD + HEIGHT + FIGURES, left : left + WIDTH])
        if border:
            right = on.shape[1] - GAP
            hud.border(on[HEAD : HEAD + HEIGHT, right - WIDTH : right], hud.WARNING, 1 + border // 2)
        hud.paste(on, hud.controls(moment.action, CURVE_WIDTH), GAP, HEAD + HEIGHT + FIGURES)
        curve = curves.copy()
        curve[:, _curve_column(step, drive)] = hud.INK
        hud.paste(on, curve, GAP, on.shape[0] - CURVES)
        yield on


class _Column(NamedTuple):
    """A picture with its title, a remark beside the title, and two lines of figures below."""

    title: str
    colour: hud.Colour
    picture: Canvas
    remark: str
    figures: tuple[str, str]

    def draw(self, on: Canvas) -> None:
        hud.write(on, self.title, 0, 20, Font(16, self.colour, BOLD))
        remark = Font(13, hud.WARNING if self.remark == SYNCED else hud.DIM)
        hud.write(on, self.remark, WIDTH - remark.width(self.remark), 20, remark)
        hud.paste(on, hud.scaled(self.picture, WIDTH, HEIGHT), 0, HEAD)
        hud.write(on, self.figures[0], 0, HEAD + HEIGHT + 22, Font(18, hud.INK, BOLD))
        hud.write(on, self.figures[1], 0, HEAD + HEIGHT + 42, Font(14, hud.DIM))


def _columns(moment: Moment, step: int, steps: int) -> list[_Column]:
    real, dream, dreamt = moment.real, moment.dream, moment.dreamt_steps
    real_reward = real.ending or (f"reward {real.reward:+.1f}" if step else "")
    predicted = f"M predicted reward {real.expected:+.1f}" if step else ""
    dream_reward = dream.ending or (f"predicted reward {dream.reward:+.1f}" if dreamt else "")
    remark = f"dreaming for {dreamt} step{'s' if dreamt > 1 else ''}" if dreamt else SYNCED
    return [
        _Column(
            "real",
            hud.REAL,
            shrink(real.picture),
            f"{real.frames / FPS:.1f} s",
            (f"score {real.score:.0f}", real_reward),
        ),
        _Column("reconstruction", hud.INK, moment.reconstruction, f"step {step} of {steps}", ("", predicted)),
        _Column("dream", hud.DREAM, dream.picture, remark, (f"score {dream.score:.0f}", dream_reward)),
    ]


def _curve_column(step: int, drive: Sequence[Moment]) -> int:
    """The column of a step in the picture of the curves."""
    return round(step * (CURVE_WIDTH - 1) / max(len(drive) - 1, 1))


def _curves(drive: Sequence[Moment]) -> Canvas:
    """Both scores over the whole drive, with a mark at every synchronisation."""
    on = hud.canvas(CURVES - GAP, CURVE_WIDTH)
    height = on.shape[0]
    scores = {
        hud.REAL: [moment.real.score for moment in drive],
        hud.DREAM: [moment.dream.score for moment in drive],
    }
    lowest = min(min(line) for line in scores.values())
    span = max(max(max(line) for line in scores.values()) - lowest, 1.0)
    for step, moment in enumerate(drive):
        if moment.dreamt_steps == 0:
            on[-4:, _curve_column(step, drive)] = hud.WARNING
    for colour, line in scores.items():
        points = [
            (_curve_column(step, drive), round((height - 8) * (1 - (score - lowest) / span)) + 1)
            for step, score in enumerate(line)
        ]
        cv2.polylines(on, [np.array(points, np.int32)], False, colour, 1, cv2.LINE_AA)
    for left, name, colour in ((2, "score", hud.DIM), (40, "real", hud.REAL), (68, "dream", hud.DREAM)):
        hud.write(on, name, left, 12, Font(12, colour))
    return on


def write(folder: Path, drawn: Sequence[Canvas], per_second: float) -> list[Path]:
    """Writes film.webm, film.webp and strip.png (six moments) to `folder`; returns their paths."""
    paths = [folder / name for name in ("film.webm", "film.webp", "strip.png")]
    film.write_video(paths[0], drawn, per_second)
    film.write_animation(paths[1], drawn, per_second)
    pictures.write_png(paths[2], film.strip(drawn))
    return paths
