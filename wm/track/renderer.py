"""CarRacing-v3 with Gymnasium's pixels, bit for bit, drawn faster; physics and drawing are separate steps.

Why our own drawing: `python -m bench.env` measures 12 to 15 times Gymnasium's frames per second with every
fourth frame drawn, 3.5 to 4 times with every frame drawn, and 1.7 times EnvPool's, which has other tracks.
Gymnasium spends 97 % of a step on drawing and cannot skip it. Physics, tracks and rewards are Gymnasium's.
"""

import os
from typing import NamedTuple

import cv2
import numpy as np

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # pygame prints a greeting on import
import pygame
from Box2D import b2World
from gymnasium.envs.box2d import car_racing as gym_car_racing
from gymnasium.envs.box2d.car_racing import (
    FPS,
    GRASS_DIM,
    PLAYFIELD,
    SCALE,
    STATE_H,
    STATE_W,
    WINDOW_H,
    WINDOW_W,
    ZOOM,
)
from jaxtyping import Float, Int, UInt8, UInt32
from pygame import gfxdraw

from wm.spec import FAILURE_REWARD, FRAME_REWARD, FRAME_SIDE

_PANEL = WINDOW_H // 8  # rows of the window covered by the instruments; 12 of the 96 rows of the state
_VIEW_ROWS = STATE_H * (WINDOW_H - _PANEL) // WINDOW_H  # rows of the state above the instruments
_MARGIN = 3  # pixels by which antialiasing and truncation may reach beyond a polygon's corners
_FARTHEST = np.hypot(WINDOW_W / 2 + _MARGIN, WINDOW_H * 3 / 4 + _MARGIN)  # pixels from the car to a corner


def _grass_patches() -> Float[np.ndarray, "polygon corner 2"]:
    """The light squares of the grass, in Gymnasium's order of patches and corners."""
    corners = np.array([(1, 0), (0, 0), (0, 1), (1, 1)], float)
    at = np.array([(x, y) for x in range(-20, 20, 2) for y in range(-20, 20, 2)])
    return GRASS_DIM * at[:, None] + GRASS_DIM * corners


def _by_corner(polygons: Float[np.ndarray, "polygon corner 2"]) -> Float[np.ndarray, "2 corner n"]:
    """The polygons as the last axis, which makes NumPy fast."""
    return np.ascontiguousarray(polygons.transpose(2, 1, 0))


_GRASS = _grass_patches()
_FIELD = _by_corner(np.array([[(1, 1), (1, -1), (-1, -1), (-1, 1)]]) * PLAYFIELD)


class _View(NamedTuple):
    """The camera: maps world to window coordinates, with y pointing up."""

    zoom: float
    shift: tuple[float, float]
    angle: float
    cosine: float
    sine: float

    def __call__(self, points: Float[np.ndarray, "2 *shape"]) -> Float[np.ndarray, "2 *shape"]:
        """Window coordinates, bit for bit those of `Vector2.rotate_rad` and Gymnasium's scaling."""
        x, y = points
        # No matrix product: BLAS fuses multiply and add, and the last bit can change a pixel.
        return np.stack(
            [
                (self.cosine * x - self.sine * y) * self.zoom + self.shift[0],
                (self.sine * x + self.cosine * y) * self.zoom + self.shift[1],
            ]
        )

    def covered_by_field(self) -> bool:
        """Whether the playfield fills the window, so that its outline is not visible."""
        x = np.array([-_MARGIN, -_MARGIN, WINDOW_W + _MARGIN, WINDOW_W + _MARGIN]) - self.shift[0]
        y = np.array([-_MARGIN, WINDOW_H + _MARGIN, -_MARGIN, WINDOW_H + _MARGIN]) - self.shift[1]
        limit = PLAYFIELD * self.zoom
        world_x = self.cosine * x + self.sine * y
        world_y = self.cosine * y - self.sine * x
        return bool(np.abs(world_x).max() < limit and np.abs(world_y).max() < limit)


def _surface(width: int, height: int) -> pygame.Surface:
    """A `pygame.Surface` as without a display: 32 bits per pixel, blue in the lowest byte."""
    return pygame.Surface((width, height), depth=32, masks=(0xFF0000, 0xFF00, 0xFF, 0))


class _Canvas:
    """The surfaces that all tracks of a process share; every frame is drawn completely.

    With one canvas per track, none would still be in the CPU caches at its next frame. Threads cannot draw in
    parallel, not even on separate canvases: SDL_gfx keeps the points of polygons in a global buffer.
    """

    def __init__(self) -> None:
        self.window = _surface(WINDOW_W, WINDOW_H)
        self.view = self.window.subsurface((0, _PANEL, WINDOW_W, WINDOW_H - _PANEL))
        self.panel = _surface(WINDOW_W, WINDOW_H)
        self.panel_view = self.panel.subsurface((0, WINDOW_H - _PANEL, WINDOW_W, _PANEL))
        self.narrow = _surface(STATE_W, WINDOW_H - _PANEL)
        self.narrow_panel = _surface(STATE_W, _PANEL)
        self.narrow_window = _surface(STATE_W, WINDOW_H)
        self.small = _surface(STATE_W, STATE_H)
        self.scores: dict[str, pygame.Surface] = {}


_CANVAS = _Canvas()


class CarRacing(gym_car_racing.CarRacing):
    """Gymnasium's CarRacing-v3; its `step` is `move`, `draw` and `settle`, in this order."""

    def __init__(self) -> None:
        super().__init__()
        pygame.font.init()
        self._font = pygame.font.Font(pygame.font.get_default_font(), 42)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Gymnasium's reset in a new Box2D world, so that an episode does not influence the next one."""
        self._destroy()
        self.road = None
        self.world = b2World((0, 0))
        return super().reset(seed=seed, options=options)

    def _create_track(self) -> bool:
        self.road_poly = []
        if not super()._create_track():
            return False
        road = np.array([corners for corners, _ in self.road_poly])
        self._corners = _by_corner(np.concatenate([_GRASS, road]))
        self._centres = self._corners.mean(axis=1)
        self._reach = np.hypot(*(self._corners - self._centres[:, None])).max(axis=0)
        self._colours = np.array(
            [self.grass_color] * len(_GRASS) + [colour for _, colour in self.road_poly], float
        )
        rows = self._colours[len(_GRASS) :]
        # Colours of tiles are arrays, those of kerbs tuples. A touched tile changes its colour in place, so
        # each tile gets its row of the table.
        tiles = iter(self.road or [])
        for row, (_, colour) in zip(rows, self.road_poly, strict=True):
            if isinstance(colour, np.ndarray):
                next(tiles).color = row
        self.road_poly = [(corners, row) for (corners, _), row in zip(self.road_poly, rows, strict=True)]
        return True

    def step(self, action: np.ndarray | None):  # pyright: ignore[reportIncompatibleMethodOverride]
        self.move(action)
        self.state = self.draw()
        reward, terminated, info = self.settle() if action is not None else (0, False, {})
        return self.state, reward, terminated, False, info

    def move(self, action: np.ndarray | None) -> None:
        """Simulates one frame, without drawing and without the reward."""
        assert self.car is not None
        if action is not None:
            steer, gas, brake = action.astype(np.float64).tolist()
            self.car.steer(-steer)
            self.car.brake(brake)
            for wheel in self.car.wheels[2:4]:  # `car.gas`, without its slow np.clip
                wheel.gas += min(min(max(gas, 0.0), 1.0) - wheel.gas, 0.1)
        self.car.step(1.0 / FPS)
        self.world.Step(1.0 / FPS, 6 * 30, 2 * 30)
        self.t += 1.0 / FPS

    def all_visited(self) -> bool:
        return self.tile_visited_count == len(self.track) or self.new_lap

    def missed(self) -> int:
        """Tiles behind the furthest visited one that are not visited yet."""
        visited = np.array([tile.road_visited for tile in self.road or []])
        return int(np.sum(~visited[: np.flatnonzero(visited).max(initial=0)]))

    def off_field(self) -> bool:
        assert self.car is not None
        x, y = self.car.hull.position
        return abs(x) > PLAYFIELD or abs(y) > PLAYFIELD

    def settle(self) -> tuple[float, bool, dict[str, bool]]:
        """Reward, terminated and info of the last frame. Must be called once per frame."""
        assert self.car is not None
        self.reward += FRAME_REWARD
        self.car.fuel_spent = 0.0
        reward = self.reward - self.prev_reward
        self.prev_reward = self.reward
        if self.off_field():
            return FAILURE_REWARD, True, {"lap_finished": False}
        if self.all_visited():
            return reward, True, {"lap_finished": True}
        return reward, False, {}

    def draw(self) -> UInt8[np.ndarray, "96 96 3"]:
        """The state as pixels. The displayed score is the one before `settle`, as in Gymnasium."""
        self._draw_world()
        self._draw_panel()
        _rows(_CANVAS.narrow_window)[: WINDOW_H - _PANEL] = _rows(_CANVAS.narrow)[::-1]
        _rows(_CANVAS.narrow_window)[WINDOW_H - _PANEL :] = _rows(_CANVAS.narrow_panel)
        pygame.transform.smoothscale(_CANVAS.narrow_window, (STATE_W, STATE_H), _CANVAS.small)
        return np.asarray(cv2.cvtColor(_rows(_CANVAS.small).view(np.uint8), cv2.COLOR_BGRA2RGB), np.uint8)

    def _render(self, mode: str):
        return self.draw() if mode == "state_pixels" and "t" in self.__dict__ else super()._render(mode)

    def _view(self) -> _View:
        assert self.car is not None
        angle = -self.car.hull.angle
        zoom = 0.1 * SCALE * max(1 - self.t, 0) + ZOOM * SCALE * min(self.t, 1)
        x, y = self.car.hull.position
        shift = pygame.math.Vector2((-x * zoom, -y * zoom)).rotate_rad(angle)
        cosine, sine = pygame.math.Vector2((1, 0)).rotate_rad(angle)
        return _View(zoom, (WINDOW_W / 2 + shift[0], WINDOW_H / 4 + shift[1]), angle, cosine, sine)

    def _draw_world(self) -> None:
        """Draws field, grass, road and car, and scales the width into the canvas's `narrow`, upside down."""
        assert self.car is not None
        view = self._view()
        if view.covered_by_field():
            _fill(_CANVAS.view, self.bg_color)
        else:
            _fill(_CANVAS.view, np.zeros(3, int))
            _fill_polygons(_CANVAS.window, view(_FIELD), self.bg_color[None])
        near = self._near(view.zoom)
        corners = view(self._corners[..., near])
        visible = _visible(corners)
        _fill_polygons(_CANVAS.window, corners[..., visible], self._colours[near[visible]])
        self.car.draw(_CANVAS.window, view.zoom, view.shift, view.angle, draw_particles=False)
        pygame.transform.smoothscale(_CANVAS.view, _CANVAS.narrow.get_size(), _CANVAS.narrow)

    def _near(self, zoom: float) -> Int[np.ndarray, " near"]:
        """Indices of the polygons no farther from the car than the corners of the window."""
        assert self.car is not None
        x, y = self.car.hull.position
        away = np.hypot(self._centres[0] - x, self._centres[1] - y)
        return np.flatnonzero(away < self._reach + _FARTHEST / zoom)

    def _draw_panel(self) -> None:
        """Draws the instruments and the score, and scales the width into `narrow_panel`."""
        self.surf = _CANVAS.panel
        self._render_indicators(WINDOW_W, WINDOW_H)
        score = f"{self.reward:04.0f}"
        if score not in _CANVAS.scores:
            _CANVAS.scores[score] = self._font.render(score, True, (255, 255, 255), (0, 0, 0))
        text = _CANVAS.scores[score]
        _CANVAS.panel.blit(text, text.get_rect(center=(60, WINDOW_H - WINDOW_H * 2.5 / 40.0)))
        pygame.transform.smoothscale(
            _CANVAS.panel_view, _CANVAS.narrow_panel.get_size(), _CANVAS.narrow_panel
        )


def _rows(surface: pygame.Surface) -> UInt32[np.ndarray, "height width 1"]:
    """The surface's memory, one integer per pixel, blue in the lowest byte."""
    return pygame.surfarray.pixels2d(surface).T[..., None]


def _fill(surface: pygame.Surface, colour: Int[np.ndarray, "3"]) -> None:
    """`Surface.fill`, but through the CPU caches. SDL bypasses them, which slows the next drawing."""
    _rows(surface).fill(surface.map_rgb(colour.tolist()))


def _visible(corners: Float[np.ndarray, "2 corner n"]) -> Int[np.ndarray, " visible"]:
    """Indices of the polygons that may reach into the window above the instruments."""
    (left, bottom), (right, top) = corners.min(axis=1), corners.max(axis=1)
    return np.flatnonzero(
        (right > -_MARGIN)
        & (left < WINDOW_W + _MARGIN)
        & (top > _PANEL - _MARGIN)
        & (bottom < WINDOW_H + _MARGIN)
    )


def _fill_polygons(
    surface: pygame.Surface,
    corners: Float[np.ndarray, "2 corner n"],
    colours: Float[np.ndarray, "n 3"] | Int[np.ndarray, "n 3"],
) -> None:
    """Draws the polygons in order."""
    # Both conversions to int truncate, as pygame does for single numbers.
    for points, colour in zip(
        corners.transpose(2, 1, 0).astype(int).tolist(), colours.astype(int).tolist(), strict=True
    ):
        gfxdraw.aapolygon(surface, points, colour)
        gfxdraw.filled_polygon(surface, points, colour)


def shrink(pixels: UInt8[np.ndarray, "96 96 3"]) -> UInt8[np.ndarray, "64 64 3"]:
    """The frame that the models see: the rows above the instruments (0 to 83), averaged to 64 x 64."""
    shrunk = cv2.resize(pixels[:_VIEW_ROWS], (FRAME_SIDE, FRAME_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.uint8)
