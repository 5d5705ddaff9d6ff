"""The game without its window: a person or the agent drives the real track, its dream, or both at once."""

from collections import deque
from collections.abc import Set

import numpy as np
from jaxtyping import Float

from wm.spec import FPS
from wm.viewer import scenes
from wm.viewer.scenes import DreamWorld, Models, RealWorld, Scene

KINDS = ("real", "dream", "both")
LOWEST_TEMPERATURE, TEMPERATURE_STEP = 0.1, 0.1
STEER, CENTRE, PRESS = 0.05, 0.1, 0.1  # change of the controls per frame while keys are held or released
FULL_GAS, FULL_BRAKE = 0.7, 0.8


def steered(action: Float[np.ndarray, "3"], held: Set[str], action_repeat: int) -> Float[np.ndarray, "3"]:
    """The next action after `action` while keys are held: left, right, up (gas) and down (brake)."""
    steering, gas, brake = (float(part) for part in action)
    target = float("right" in held) - float("left" in held)
    rate = STEER if target and target * steering >= 0 else CENTRE
    return np.array(
        [
            _towards(target, steering, rate * action_repeat),
            _towards(FULL_GAS * ("up" in held), gas, PRESS * action_repeat),
            _towards(FULL_BRAKE * ("down" in held), brake, PRESS * action_repeat),
        ],
        np.float32,
    )


def _towards(target: float, value: float, limit: float) -> float:
    """The value, changed towards the target by at most `limit`."""
    return value + min(max(target - value, -limit), limit)


class Game:
    """The worlds of the game and their driver; `press` and `step` are the only inputs."""

    def __init__(
        self, models: Models, *, kind: str, seed: int, agent: bool, temperature: float | None = None
    ) -> None:
        self.models, self.kind, self.agent_drives = models, kind, agent
        self.temperature = models.dream.rules.temperature if temperature is None else temperature
        self.action_repeat = models.timing.action_repeat
        self.real = RealWorld(models)
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """All worlds at the start of the track of `seed`."""
        self.seed = seed
        self.actions = {name: np.zeros(3, np.float32) for name in KINDS[:2]}
        second = FPS // self.action_repeat
        self.rewards = {name: deque[float](maxlen=max(second, 1)) for name in KINDS[:2]}
        start = self.real.restart(seed)
        self.dream = DreamWorld(self.models, seed)
        self.dream.temperature = self.temperature
        self.dream.restart(start)

    @property
    def worlds(self) -> dict[str, RealWorld | DreamWorld]:
        """The worlds of this game by name."""
        both = {"real": self.real, "dream": self.dream}
        return {name: world for name, world in both.items() if self.kind in (name, "both")}

    @property
    def scenes(self) -> dict[str, Scene]:
        """The current scene of each world."""
        return {name: world.now for name, world in self.worlds.items()}

    @property
    def over(self) -> bool:
        return all(scene.ending for scene in self.scenes.values())

    def press(self, key: str) -> None:
        """The effect of a key that is pressed once: restart, agent, warmer, cooler; others take over from the
        agent."""
        if key == "restart":
            self.restart(self.seed + 1)
        elif key == "agent":
            self.agent_drives = not self.agent_drives
        elif key in ("warmer", "cooler"):
            change = TEMPERATURE_STEP if key == "warmer" else -TEMPERATURE_STEP
            self.temperature = max(round(self.temperature + change, 6), LOWEST_TEMPERATURE)
            self.dream.temperature = self.temperature
        else:
            self.agent_drives = False

    def step(self, held: Set[str]) -> dict[str, Scene]:
        """Advances every world that is not over by one action: the person's, or what the agent does in it."""
        for name, world in self.worlds.items():
            if not world.now.ending:
                self.actions[name] = self._action(name, world.now, held)
                self.rewards[name].append(world.step(self.actions[name]).reward)
        return self.scenes

    def _action(self, name: str, scene: Scene, held: Set[str]) -> Float[np.ndarray, "3"]:
        if self.agent_drives:
            return scenes.choose(self.models, scene)
        return steered(self.actions[name], held, self.action_repeat)

    def pace(self, name: str) -> float:
        """Points per second over the last second of a world, since a dream has no other speed."""
        rewards = self.rewards[name]
        return FPS / self.action_repeat * sum(rewards) / max(len(rewards), 1)
