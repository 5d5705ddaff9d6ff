"""Which drives an agent makes on new tracks, as data for the next round."""

from wm.agent.drive import Drive


def exploration(first_seed: int, count: int, action_noise: float) -> list[Drive]:
    """A third of the drives by the agent, a third with noise on its actions, and a third by snapshots of its
    evolution, since the next search will try such controllers again."""
    drives = []
    for i in range(count):
        seed = first_seed + i
        kinds = [Drive(seed), Drive(seed, action_noise=action_noise), Drive(seed, snapshot=i / count)]
        drives.append(kinds[i % 3])
    return drives
