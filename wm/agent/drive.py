"""What an agent is to drive."""

from dataclasses import dataclass

CARS = 8  # side by side in one process; V, M and C take less time per car than for fewer


@dataclass(frozen=True)
class Drive:
    """A drive to be made.

    `action_noise` is the standard deviation of the noise on the actions. `snapshot` is the share of the
    evolution after which the snapshot that drives was taken, from 0 to 1; None: the controller drives. With
    `sampled`, latents are samples from the encoder's distribution instead of its mean.
    """

    seed: int
    action_noise: float = 0.0
    snapshot: float | None = None
    sampled: bool = False

    @property
    def is_agents_own(self) -> bool:
        """Whether the agent's controller drives, without action noise."""
        return self.snapshot is None and not self.action_noise
