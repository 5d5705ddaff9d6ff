"""Drives of an agent on real tracks: several cars at once in every worker process.

Only the workers import JAX, so that they start early.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from wm.agent.agent_files import AgentFiles
from wm.agent.drive import CARS, Drive
from wm.data.episode import Episode
from wm.runtime import workers
from wm.runtime.tasks import Tasks
from wm.runtime.workers import Pool, Where
from wm.spec import Timing

REPORT_STEPS = 25  # steps of all cars between two reports, less than a second


def drive_all(
    models: AgentFiles,
    drives: Iterable[Drive],
    timing: Timing,
    source: str,
    where: Where,
    report: Callable[[int], None] = workers.no_report,
) -> Iterator[Episode]:
    """The episodes of the drives, in their order; the same wherever they are computed.

    `report` is called with the numbers of frames that have been driven since the call before.
    """
    models.check()  # reports a damaged file before any process is started
    with workers.pool(*where) as pool:
        yield from drive_in(pool, models, drives, timing, source, report)


def drive_in(
    pool: Pool,
    models: AgentFiles,
    drives: Iterable[Drive],
    timing: Timing,
    source: str,
    report: Callable[[int], None] = workers.no_report,
) -> Iterator[Episode]:
    """`drive_all` by workers that have been started."""
    drives = iter(drives)
    first = list(itertools.islice(drives, CARS * pool.workers))
    count = -(-len(first) // pool.workers)  # so that few drives keep all workers busy
    function = partial(_episodes, models.absolute, timing, source, count)
    yield from workers.together(pool, function, itertools.chain(first, drives), CARS, report)


def _episodes(
    models: AgentFiles, timing: Timing, source: str, count: int, tasks: Tasks
) -> Iterator[tuple[int, Episode]]:
    """The drives that `tasks` holds, with their numbers, by `count` cars.

    A car whose drive is over starts the next one, while the others go on.
    """
    from wm.agent.cars import Cars, Drivers  # and with them JAX

    cars = Cars(Drivers.load(models), timing, source)
    for step in itertools.count():
        for car in cars.standing(count):
            if task := tasks.take(wait=not cars.running):
                cars.start(car, *task)
        if step % REPORT_STEPS == 0 or not cars.running:
            tasks.report(cars.newly_driven())
        if not cars.running:
            return
        yield from cars.step()
