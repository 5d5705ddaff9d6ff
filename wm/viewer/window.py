"""The window of a game: what it shows, and the keys that reach it."""

import os
import signal
import sys
from collections.abc import Sequence

import pygame

from wm.errors import BadInput
from wm.spec import FPS
from wm.viewer import hud
from wm.viewer.game import Game
from wm.viewer.hud import Canvas
from wm.viewer.scenes import Scene

DRIVE = {pygame.K_LEFT: "left", pygame.K_RIGHT: "right", pygame.K_UP: "up", pygame.K_DOWN: "down"}
ONCE = {
    pygame.K_r: "restart",
    pygame.K_a: "agent",
    pygame.K_PLUS: "warmer",
    pygame.K_KP_PLUS: "warmer",
    pygame.K_EQUALS: "warmer",  # where + needs Shift
    pygame.K_MINUS: "cooler",
    pygame.K_KP_MINUS: "cooler",
    pygame.K_q: "quit",
    pygame.K_ESCAPE: "quit",
}

SIDE, GAP, HEAD, FOOT = 480, 12, 62, 84  # of the window, in pixels
ROAD = SIDE * 84 // 96  # what the models see of a picture: all but the instruments
HELP = ("arrows: drive    A: agent    R: next track", "T, Shift-T or +, -: temperature    Esc: quit")


def run(game: Game, steps: int) -> None:
    """Shows the game until its window is closed, or for so many steps (0: no end).

    Raises BadInput where there is no display, KeyboardInterrupt between two steps.
    """
    screen = _opened(game)
    interrupts: list[int] = []
    # Box2D calls Python back in the midst of its step, and does not survive an exception there
    usual = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        clock, keyboard, turn = pygame.time.Clock(), Keyboard(), 0
        while steps == 0 or turn < steps:
            pressed = keyboard.read(pygame.event.get())
            if "quit" in pressed:
                break
            for key in pressed:
                game.press(key)
            game.step(keyboard.held.union(pressed))
            if interrupts:
                raise KeyboardInterrupt
            for frame in range(game.action_repeat):
                _show(screen, window(game, frame))
                clock.tick(FPS)
            turn += 1
    finally:
        signal.signal(signal.SIGINT, usual)
        pygame.display.quit()


class Keyboard:
    """Which of the keys that drive are held down, as a window's events tell."""

    def __init__(self) -> None:
        self.held: set[str] = set()

    def read(self, events: Sequence[pygame.Event]) -> list[str]:
        """The names of the keys pressed since the last time, in their order."""
        pressed = []
        for event in events:
            if event.type == pygame.QUIT:
                pressed.append("quit")
            elif event.type == pygame.KEYDOWN and (name := _named(event)):
                pressed.append(name)
                self.held |= {name} & set(DRIVE.values())
            elif event.type == pygame.KEYUP and event.key in DRIVE:
                self.held.discard(DRIVE[event.key])
        return pressed


def _named(event: pygame.Event) -> str:
    if event.key == pygame.K_t:
        return "cooler" if event.mod & pygame.KMOD_SHIFT else "warmer"
    return DRIVE.get(event.key) or ONCE.get(event.key) or ""


def need_display() -> None:
    """Raises BadInput where no window can be opened; SDL would draw where nobody sees it."""
    named = ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in named):
        raise BadInput("display: none found, wanted DISPLAY or WAYLAND_DISPLAY. `wm watch` makes a film.")


def _opened(game: Game) -> pygame.Surface:
    """The window, large enough for the game."""
    need_display()
    try:
        pygame.display.init()
        height, width, _ = window(game, 0).shape
        screen = pygame.display.set_mode((width, height))
    except pygame.error as error:
        raise BadInput(f"display: {error}, wanted one for a window. `wm watch` makes a film.") from None
    pygame.display.set_caption("World Models: CarRacing-v3")
    return screen


def _show(screen: pygame.Surface, picture: Canvas) -> None:
    screen.blit(pygame.image.frombuffer(picture.tobytes(), screen.get_size(), "RGB"), (0, 0))
    pygame.display.flip()


def window(game: Game, frame: int) -> Canvas:
    """All that the window shows of the `frame`th frame of the last action."""
    scenes = game.scenes
    shown = hud.canvas(HEAD + SIDE + FOOT, GAP + len(scenes) * (SIDE + GAP))
    for i, (name, scene) in enumerate(scenes.items()):
        _column(shown[:, GAP + i * (SIDE + GAP) :][:, :SIDE], name, scene, game.pace(name), frame)
    top, middle = HEAD + SIDE, shown.shape[1] // 2
    hud.paste(shown, hud.controls(game.action, SIDE), middle - SIDE // 2, top + 8)
    driver = "the agent drives" if game.agent_drives else "you drive"
    state = f"track {game.seed}    {driver}"
    if "dream" in scenes:
        state += f"    temperature {game.rules.temperature:.1f}"
    lines = (f"{state}    {HELP[0]}", HELP[1]) if len(scenes) > 1 else (state, "    ".join(HELP))
    for i, line in enumerate(lines):
        size = 14 if hud.text_width(line, 14) < shown.shape[1] - 2 * GAP else 12
        hud.write(shown, line, middle - hud.text_width(line, size) // 2, top + 46 + 22 * i, size)
    return shown


def _column(on: Canvas, name: str, scene: Scene, pace: float, frame: int) -> None:
    """One world with its figures above."""
    colour = hud.REAL if name == "real" else hud.DREAM
    hud.write(on, name, 0, 26, 20, colour, 700)
    score = f"{scene.score:.0f}"
    hud.write(on, score, SIDE - hud.text_width(score, 24, 700), 28, 24, hud.INK, 700)
    figures = f"{scene.frames / FPS:.1f} s    reward {scene.reward:+.1f}, M expected {scene.expected:+.1f}"
    figures += f"    {pace:.0f} points/s"
    if name == "real":
        figures += f"    speed {scene.speed:.0f}"
    hud.write(on, figures, 0, 52, 14, hud.DIM)
    picture = scene.pictures[min(frame, len(scene.pictures) - 1)]
    height = SIDE if name == "real" else ROAD
    hud.paste(on, hud.scaled(picture, SIDE, height), 0, HEAD)
    if scene.ending:
        _notice(on[HEAD : HEAD + ROAD], f"{scene.ending}: {scene.score:.0f} points", "R: next track")


def _notice(on: Canvas, *lines: str) -> None:
    """Lines on a dark band in the middle."""
    middle = on.shape[0] // 2
    on[middle - 40 : middle + 40] //= 4
    for i, (line, size) in enumerate(zip(lines, (24, 16), strict=True)):
        left = (on.shape[1] - hud.text_width(line, size, 700)) // 2
        hud.write(on, line, left, middle - 4 + 28 * i, size, hud.INK, 700)
