"""The window of `wm play`: the picture it shows and the keys it reads."""

import os
import signal
import sys
from collections.abc import Sequence

import pygame

from wm.errors import BadInput
from wm.runtime.interrupt import SIGNALS
from wm.spec import FPS
from wm.viewer import hud
from wm.viewer.game import Game
from wm.viewer.hud import BOLD, Canvas, Font
from wm.viewer.scenes import Scene

DRIVING_KEYS = {
    pygame.K_LEFT: "left",
    pygame.K_RIGHT: "right",
    pygame.K_UP: "up",
    pygame.K_DOWN: "down",
}
COMMAND_KEYS = {
    pygame.K_r: "restart",
    pygame.K_a: "agent",
    pygame.K_PLUS: "warmer",
    pygame.K_KP_PLUS: "warmer",
    pygame.K_EQUALS: "warmer",  # on keyboards where + needs Shift
    pygame.K_MINUS: "cooler",
    pygame.K_KP_MINUS: "cooler",
    pygame.K_q: "quit",
    pygame.K_ESCAPE: "quit",
}

SIDE, GAP, HEAD, FOOT = 480, 12, 62, 84  # of the window, in pixels
VIEW_HEIGHT = SIDE * 84 // 96  # the part of a picture that the models see: all but the instruments
HELP = ("arrows: drive    A: agent    R: next track", "T, Shift-T or +, -: temperature    Esc: quit")


def run(game: Game, steps: int) -> None:
    """Shows the game until its window is closed, or for `steps` steps (0: no limit).

    Raises BadInput where there is no display, KeyboardInterrupt between two steps.
    """
    screen = _open(game)
    interrupts: list[int] = []
    # Box2D calls Python code during its step and crashes on an exception there, so signals wait.
    handlers = {one: signal.signal(one, lambda number, _: interrupts.append(number)) for one in SIGNALS}
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
                raise KeyboardInterrupt(interrupts[0])
            for frame in range(game.action_repeat):
                _show(screen, picture(game, frame))
                clock.tick(FPS)
            turn += 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        pygame.display.quit()


class Keyboard:
    """The driving keys that are held down, according to the window's events."""

    def __init__(self) -> None:
        self.held: set[str] = set()

    def read(self, events: Sequence[pygame.Event]) -> list[str]:
        """The names of the keys pressed since the last call, in order."""
        pressed = []
        for event in events:
            if event.type == pygame.QUIT:
                pressed.append("quit")
            elif event.type == pygame.KEYDOWN and (name := _key_name(event)):
                pressed.append(name)
                self.held |= {name} & set(DRIVING_KEYS.values())
            elif event.type == pygame.KEYUP and event.key in DRIVING_KEYS:
                self.held.discard(DRIVING_KEYS[event.key])
        return pressed


def _key_name(event: pygame.Event) -> str:
    if event.key == pygame.K_t:
        return "cooler" if event.mod & pygame.KMOD_SHIFT else "warmer"
    return DRIVING_KEYS.get(event.key) or COMMAND_KEYS.get(event.key) or ""


def need_display() -> None:
    """Raises BadInput where no window can be opened; SDL would draw to a dummy display."""
    variables = ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in variables):
        raise BadInput(
            "display: found none, expected DISPLAY or WAYLAND_DISPLAY to be set. `wm watch` makes a film."
        )


def _open(game: Game) -> pygame.Surface:
    """A window of the game's size."""
    need_display()
    try:
        pygame.display.init()
        height, width, _ = picture(game, 0).shape
        screen = pygame.display.set_mode((width, height))
    except pygame.error as error:
        raise BadInput(
            f"display: {error}, expected one that opens a window. `wm watch` makes a film."
        ) from None
    pygame.display.set_caption("World Models: CarRacing-v3")
    return screen


def _show(screen: pygame.Surface, shown: Canvas) -> None:
    screen.blit(pygame.image.frombuffer(shown.tobytes(), screen.get_size(), "RGB"), (0, 0))
    pygame.display.flip()


def picture(game: Game, frame: int) -> Canvas:
    """The window's content at frame number `frame` of the last action."""
    scenes = game.scenes
    on = hud.canvas(HEAD + SIDE + FOOT, GAP + len(scenes) * (SIDE + GAP))
    for i, (name, scene) in enumerate(scenes.items()):
        left = GAP + i * (SIDE + GAP)
        _draw_world(on[:, left : left + SIDE], name, scene, game.pace(name), frame)
        hud.paste(on, hud.controls(game.actions[name], SIDE), left, HEAD + SIDE + 8)
    top, middle = HEAD + SIDE, on.shape[1] // 2
    driver = ("the agent drives" if game.agent_drives else "you drive") + " both" * (len(scenes) > 1)
    state = f"track {game.seed}    {driver}"
    if "dream" in scenes:
        state += f"    temperature {game.temperature:.1f}"
    lines = (f"{state}    {HELP[0]}", HELP[1]) if len(scenes) > 1 else (state, "    ".join(HELP))
    for i, line in enumerate(lines):
        font = Font(14 if Font(14).width(line) < on.shape[1] - 2 * GAP else 12)
        hud.write(on, line, middle - font.width(line) // 2, top + 46 + 22 * i, font)
    return on


def _draw_world(on: Canvas, name: str, scene: Scene, pace: float, frame: int) -> None:
    """One world, with its figures above the picture."""
    hud.write(on, name, 0, 26, Font(20, hud.REAL if name == "real" else hud.DREAM, BOLD))
    score, font = f"{scene.score:.0f}", Font(24, hud.INK, BOLD)
    hud.write(on, score, SIDE - font.width(score), 28, font)
    figures = f"{scene.frames / FPS:.1f} s    reward {scene.reward:+.1f}, M predicted {scene.expected:+.1f}"
    figures += f"    {pace:.0f} points/s"
    if name == "real":
        figures += f"    speed {scene.speed:.0f}"
    hud.write(on, figures, 0, 52, Font(14, hud.DIM))
    shown = scene.pictures[min(frame, len(scene.pictures) - 1)]
    height = SIDE if name == "real" else VIEW_HEIGHT
    hud.paste(on, hud.scaled(shown, SIDE, height), 0, HEAD)
    if scene.ending:
        _draw_notice(on[HEAD : HEAD + VIEW_HEIGHT], f"{scene.ending}: {scene.score:.0f} points")


def _draw_notice(on: Canvas, text: str) -> None:
    """The text and the key that continues, on a dark band in the middle."""
    middle = on.shape[0] // 2
    on[middle - 40 : middle + 40] //= 4
    for i, (line, size) in enumerate(((text, 24), ("R: next track", 16))):
        font = Font(size, hud.INK, BOLD)
        hud.write(on, line, (on.shape[1] - font.width(line)) // 2, middle - 4 + 28 * i, font)
