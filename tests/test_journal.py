import numpy as np
import pytest

from wm.errors import Halted
from wm.runtime.journal import Journal
from wm.search.cma_es import Schedule, maximise

SEARCH = Schedule(
    population=16, generations=80, sigma0=0.5, max_std=10.0, final_std=10.0, decay_start=0.5, diagonal=True
)


def sphere(generation, candidates):
    return -((candidates - 1.5) ** 2).sum(axis=1)


def search(journal=None, fitness=sphere, generations=None):
    run = maximise(fitness, np.zeros(8), SEARCH, seed=5, journal=journal)
    return [one.mean for _, one in zip(range(generations or SEARCH.generations), run, strict=False)]


def computed_after(journal):
    """How many generations are asked for again, and where the search ends."""
    asked = []

    def counted(generation, candidates):
        asked.append(generation)
        return sphere(generation, candidates)

    return asked, search(journal, counted)[-1]


def test_an_interrupted_search_resumes_to_the_same_bits(tmp_path):
    whole = search()
    search(Journal(tmp_path / "journal"), generations=30)
    asked, end = computed_after(Journal(tmp_path / "journal"))
    assert asked == list(range(30, 80))
    assert np.array_equal(end, whole[-1])


@pytest.mark.parametrize("keep", [0.0, 0.31, 0.999])
def test_a_truncated_journal_counts_up_to_its_last_complete_line(tmp_path, capsys, keep):
    path = tmp_path / "journal"
    search(Journal(path), generations=20)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    whole = path.read_bytes().count(b"\n")
    asked, end = computed_after(Journal(path))
    assert asked == list(range(whole, 80))
    assert np.array_equal(end, search()[-1])
    assert ("damaged" in capsys.readouterr().err) == (keep > 0)
    assert computed_after(Journal(path))[0] == []


def test_a_changed_fitness_is_computed_again(tmp_path):
    path = tmp_path / "journal"
    search(Journal(path), generations=20)
    lines = path.read_text().splitlines(keepends=True)
    lines[7] = lines[7].replace("0x1.", "0x1.1", 1)
    path.write_text("".join(lines))
    asked, end = computed_after(Journal(path))
    assert asked == list(range(7, 80))
    assert np.array_equal(end, search()[-1])


def test_fitness_of_other_candidates_are_computed_again(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.write(0, np.zeros((4, 2)), np.arange(4.0))
    assert np.asarray(journal.fitness(0, np.zeros((4, 2)))).tolist() == [0, 1, 2, 3]
    assert journal.fitness(0, np.ones((4, 2))) is None
    assert journal.fitness(1, np.zeros((4, 2))) is None


def test_many_fitness_values_that_are_not_finite_end_the_search():
    def broken(generation, candidates):
        values = sphere(generation, candidates)
        values[: 3 if generation == 2 else 1] = np.nan
        return values

    counted = []
    with pytest.raises(Halted, match="generation 2: found 3 of 16 fitness values that are not finite"):
        counted += [one.broken for one in maximise(broken, np.zeros(8), SEARCH, seed=1)]
    few = maximise(
        lambda number, c: np.where(np.arange(16) == 0, np.nan, sphere(number, c)), np.zeros(8), SEARCH, seed=1
    )
    assert next(few).broken == 1
