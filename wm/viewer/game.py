"""A person, or the agent, at the wheel of the real track, of its dream, or of both at once; no window."""

from collections import deque
from collections.abc import Set

import numpy as np
from jaxtyping import Float

from wm.dream.dynamics import Rules
from wm.params.environment import Environment
from wm.spec import FPS
from wm.viewer import scenes
from wm.viewer.scenes import DreamWorld, Minds, RealWorld, Scene

KINDS = ("real", "dream", "both")
LOWEST_TEMPERATURE, WARMER = 0.1, 0.1
STEER, CENTRE, PRESS = 0.05, 0.1, 0.1  # how fast held and released keys move the controls, by frame
FULL_GAS, FULL_BRAKE = 0.7, 0.8


def steered(action: Float[np.ndarray, "3"], held: Set[str], action_repeat: int) -> Float[np.ndarray, "3"]:
    """The controls, moved on from `action` by what is held of left, right, up (gas) and down (brake)."""
    steering, gas, brake = (float(part) for part in action)
    wanted = float("right" in held) - float("left" in held)
    rate = STEER if wanted and wanted * steering >= 0 else CENTRE
    return np.array(
        [
            _towards(wanted, steering, rate * action_repeat),
            _towards(FULL_GAS * ("up" in held), gas, PRESS * action_repeat),
            _towards(FULL_BRAKE * ("down" in held), brake, PRESS * action_repeat),
        ],
        np.float32,
    )


def _towards(wanted: float, found: float, most: float) -> float:
    return found + min(max(wanted - found, -most), most)


class Game:
    """The chosen worlds, and who is at the wheel: `press` and `step` are all that happens to them."""

    def __init__(
        self, minds: Minds, environment: Environment, rules: Rules, *, kind: str, seed: int, agent: bool
    ) -> None:
        self.minds, self.rules, self.kind, self.agent_drives = minds, rules, kind, agent
        self.action_repeat = environment.action_repeat
        self.real = RealWorld(minds, environment)
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """All worlds at the start of the track of `seed`."""
        self.seed = seed
        self.action = np.zeros(3, np.float32)
        second = FPS // self.action_repeat
        self.won = {name: deque[float](maxlen=max(second, 1)) for name in KINDS[:2]}
        start = self.real.restart(seed)
        self.dream = DreamWorld(self.minds, self.rules, seed)
        self.dream.restart(start)

    @property
    def running(self) -> dict[str, RealWorld | DreamWorld]:
        """The worlds of this game by name."""
        both = {"real": self.real, "dream": self.dream}
        return {name: world for name, world in both.items() if self.kind in (name, "both")}

    @property
    def scenes(self) -> dict[str, Scene]:
        """What there is to see."""
        return {name: world.now for name, world in self.running.items()}

    @property
    def over(self) -> bool:
        return all(scene.ending for scene in self.scenes.values())

    def press(self, key: str) -> None:
        """What a key does once: restart, agent, warmer, cooler; one that drives takes the wheel."""
        if key == "restart":
            self.restart(self.seed + 1)
        elif key == "agent":
            self.agent_drives = not self.agent_drives
        elif key in ("warmer", "cooler"):
            change = WARMER if key == "warmer" else -WARMER
            temperature = max(round(self.rules.temperature + change, 6), LOWEST_TEMPERATURE)
            self.rules = self.dream.rules = self.rules._replace(temperature=temperature)
        else:
            self.agent_drives = False

    def step(self, held: Set[str]) -> dict[str, Scene]:
        """Every world that is not over, one action on; the agent acts on the first of them."""
        going = {name: world for name, world in self.running.items() if not world.now.ending}
        if going and self.agent_drives:
            self.action = scenes.choose(self.minds, next(iter(going.values())).now)
        elif going:
            self.action = steered(self.action, held, self.action_repeat)
        for name, world in going.items():
            self.won[name].append(world.step(self.action).reward)
        return self.scenes

    def pace(self, name: str) -> float:
        """Points a second that a world brought lately: a dream has no other speed."""
        won = self.won[name]
        return FPS / self.action_repeat * sum(won) / max(len(won), 1)
