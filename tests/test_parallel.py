"""Worker processes: results in order, and an end at once where nobody waits for the rest."""

import multiprocessing
import time

import numpy as np
import pytest

from wm.runtime import workers


def numbers(seed):
    """Megabytes, so that some worker is always sending when it is stopped."""
    return np.full(4_000_000, seed)


def sleep(seconds):
    time.sleep(seconds)


def test_results_come_in_the_order_of_the_tasks():
    with workers.processes(2) as pool:
        found = [int(one[0]) for one in workers.ordered(pool, numbers, range(6))]
    assert found == list(range(6))


@pytest.mark.parametrize("reads", [1, 2, 3])
def test_an_abandoned_pool_ends_at_once_whatever_its_workers_are_at(reads):
    def abandon():
        with workers.processes(2) as pool:
            for count, _ in enumerate(workers.ordered(pool, numbers, range(1000)), 1):
                if count == reads:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        abandon()
    assert multiprocessing.active_children() == []


def test_a_task_under_way_is_not_waited_for():
    def results():
        with workers.processes(1) as pool:
            yield from workers.ordered(pool, sleep, [0, 600])

    running = results()
    next(running)
    began = time.monotonic()
    running.close()  # nobody reads on
    assert time.monotonic() - began < 60
    assert multiprocessing.active_children() == []
