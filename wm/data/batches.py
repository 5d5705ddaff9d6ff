"""Batches of the episodes in shards."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from wm.data.episode import Record
from wm.data.shards import Shards


def frame_batches(
    shards: Shards, records: Sequence[Record], *, batch_size: int, buffer_episodes: int, seed: int
) -> Iterator[np.ndarray]:
    """Endless batches of frames, uint8 (batch, 64, 64, 3), every pass in another order.

    The frames of `buffer_episodes` random episodes are shuffled together, so that memory does not grow with
    the data.
    """

    def frames(number: int) -> np.ndarray:
        return shards.read(records[number]).observations["frame"]

    return shuffled(frames, len(records), batch_size=batch_size, buffer_episodes=buffer_episodes, seed=seed)


def shuffled(
    rows: Callable[[int], np.ndarray], episodes: int, *, batch_size: int, buffer_episodes: int, seed: int
) -> Iterator[np.ndarray]:
    """Endless batches of the episodes' rows, in an order that depends only on the seed and the lengths."""
    rng = np.random.default_rng(seed)
    remainder: list[np.ndarray] = []
    while True:
        order = rng.permutation(episodes).tolist()
        for start in range(0, episodes, buffer_episodes):
            chosen = order[start : start + buffer_episodes]
            buffer = np.concatenate([*remainder, *[rows(number) for number in chosen]])
            rng.shuffle(buffer)
            whole = len(buffer) // batch_size * batch_size
            for batch in range(0, whole, batch_size):
                yield buffer[batch : batch + batch_size].copy()  # a view would keep the buffer alive
            remainder = [buffer[whole:].copy()]
            del buffer


def longest(records: Sequence[Record]) -> int:
    """Steps of the longest episode."""
    return max(record.length for record in records)


def stacked(
    shards: Shards, records: Sequence[Record], steps: int, starts: Sequence[int] | np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Episodes of latents as one batch, `steps` steps each, from `starts` on: (batch, steps, ...).

    Without `starts` they begin with their first step. Episodes that end earlier are padded with zeros. `mask`
    is True on real steps, `done` on a step that ended in failure.
    """
    batch: dict[str, np.ndarray] = {}
    firsts = np.zeros(len(records), int) if starts is None else starts
    for row, (record, first) in enumerate(zip(records, firsts, strict=True)):
        episode = shards.read(record)
        columns = {
            **episode.observations,
            "action": episode.actions,
            "reward": episode.rewards,
            "missed": episode.missed,
            "done": episode.terminated,
            "mask": np.ones(record.length, bool),
        }
        for name, values in columns.items():
            if name not in batch:
                shape = (len(records), steps, *values.shape[1:])
                batch[name] = np.zeros(shape, values.dtype)
            part = values[first : first + steps]
            batch[name][row, : len(part)] = part
    return batch


def draw(
    records: Sequence[Record], rounds: Sequence[str], share: float, count: int, rng: np.random.Generator
) -> list[Record]:
    """`count` random episodes, more of them from newer rounds.

    The newest of `rounds` (the first one) gets `share` of the episodes, the next one `share` of the rest, and
    so on. What remains goes to all other sources, whose episodes are equally likely.
    """
    groups, weights, rest = [], [], 1.0
    for name in rounds:
        group = [record for record in records if record.source == name]
        if group:
            groups.append(group)
            weights.append(rest * share)
            rest *= 1 - share
    elsewhere = [record for record in records if record.source not in rounds]
    if elsewhere:
        groups.append(elsewhere)
        weights.append(rest)
    probabilities = np.array(weights) / sum(weights)
    chosen = rng.choice(len(groups), size=count, p=probabilities)
    return [groups[i][rng.integers(len(groups[i]))] for i in chosen]
