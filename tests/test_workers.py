"""Worker processes: results in order, killed at once when the caller stops reading."""

import itertools
import multiprocessing
import os
import time

import numpy as np
import pytest

from wm.errors import BadInput, Halted
from wm.runtime import workers
from wm.runtime.startup import ONE_THREAD


def numbers(seed):
    """32 MB, so that some worker is always sending when it is killed."""
    return np.full(4_000_000, seed)


def sleep(seconds):
    time.sleep(seconds)


def test_results_come_in_the_order_of_the_tasks():
    with workers.local_pool(2) as pool:
        firsts = [int(array[0]) for array in workers.ordered(pool, numbers, range(6))]
    assert firsts == list(range(6))


@pytest.mark.parametrize("reads", [1, 2, 3])
def test_an_abandoned_pool_ends_at_once_whatever_its_workers_do(reads):
    def abandon():
        with workers.local_pool(2) as pool:
            for count, _ in enumerate(workers.ordered(pool, numbers, range(1000)), 1):
                if count == reads:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        abandon()
    assert multiprocessing.active_children() == []


def test_a_task_under_way_is_not_waited_for():
    def results():
        with workers.local_pool(1) as pool:
            yield from workers.ordered(pool, sleep, [0, 600])

    running = results()
    next(running)
    began = time.monotonic()
    running.close()
    assert time.monotonic() - began < 60
    assert multiprocessing.active_children() == []


def refuse(task):
    raise BadInput(f"task {task}: found nothing")


def test_an_error_of_a_task_comes_back_with_its_traceback():
    with workers.local_pool(1) as pool, pytest.raises(BadInput, match="task 7: found nothing") as caught:
        list(workers.ordered(pool, refuse, [7]))
    assert "in refuse" in caught.value.__notes__[0]


def die(task):
    os._exit(3)


def test_a_worker_that_dies_ends_the_work_in_one_line():
    with (
        workers.local_pool(2) as pool,
        pytest.raises(Halted, match=r"a worker process ended \(exit code 3\)"),
    ):
        list(workers.ordered(pool, die, range(4)))
    assert multiprocessing.active_children() == []


def variables(names):
    return [os.environ.get(name) for name in names]


@pytest.mark.parametrize("flags", ["", "--xla_cpu_max_isa=AVX2 "])
def test_workers_have_one_thread_and_this_process_keeps_its_environment(monkeypatch, flags):
    monkeypatch.setenv("XLA_FLAGS", flags)
    expected = ONE_THREAD | {"XLA_FLAGS": flags + ONE_THREAD["XLA_FLAGS"]}
    before = variables(ONE_THREAD)
    with workers.local_pool(1) as pool:
        assert next(workers.ordered(pool, variables, [list(ONE_THREAD)])) == list(expected.values())
        assert variables(ONE_THREAD) == before


def test_tasks_are_read_as_results_are():
    """Even if there are infinitely many."""
    read = []
    with workers.local_pool(2) as pool:
        running = workers.ordered(pool, abs, (read.append(i) or -i for i in itertools.count()))
        assert list(itertools.islice(running, 50)) == list(range(50))
        time.sleep(0.5)
        assert 50 <= len(read) < 50 + workers.TASKS_PER_WORKER * 2


def pairs(tasks):
    """Takes two tasks at once, waits with neither, and finishes the second one first."""
    held = []
    while tasks.left or held:
        if tasks.left and len(held) < 2 and (task := tasks.take(wait=not held)):
            held.append(task)
            tasks.report(1)
        elif held:
            number, value = held.pop()
            yield number, 2 * value


@pytest.mark.parametrize("count", [1, 3])
def test_a_worker_may_hold_several_tasks_at_once(count):
    reported = []
    with workers.local_pool(count) as pool:
        assert list(workers.together(pool, pairs, range(100), 2, reported.append)) == list(range(0, 200, 2))
    assert sum(reported) == 100


def test_a_task_list_of_a_cluster_gives_results_in_order():
    assert workers._of_list(pairs, range(7)) == list(range(0, 14, 2))


def test_an_error_in_the_tasks_ends_the_work():
    def tasks():
        yield 1
        raise BadInput("no second task")

    with workers.local_pool(1) as pool, pytest.raises(BadInput, match="no second task"):
        list(workers.ordered(pool, abs, tasks()))
