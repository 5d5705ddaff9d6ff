"""The section `explore`."""

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from wm.params.section import Section

SEEDS_PER_ROUND = 10_000


class Explore(Section):
    """Drives of each round's agent, from which the next round learns; those by the agent itself, without
    noise, are the round's real score."""

    seed: NonNegativeInt
    """seed of the tracks: round number n, counted from 1, starts 10,000 n above it"""
    episodes: PositiveInt
    """number of drives per round: a third by the agent, a third by the agent with action noise, a third by
    snapshots of the search"""
    action_noise: NonNegativeFloat
    """standard deviation of the action noise"""

    def first_track(self, number: int) -> int:
        """Seed of the first track of a round that has `number` rounds up to and including it."""
        return self.seed + SEEDS_PER_ROUND * number
