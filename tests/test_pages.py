"""The pages of docs/experiments follow one form, and their tables are those of the CSV files."""

import re
import shlex
from itertools import pairwise

import pytest

from bench import ablations, pages, tables
from wm.errors import BadInput
from wm.params import check, file
from wm.params.file import PARAMS

EXPERIMENTS = sorted(pages.PAGES.glob("[0-9]*.md"))
LINK = re.compile(r"\]\(([^)#]+)\)")


@pytest.fixture(params=sorted(pages.PAGES.glob("*.md")), ids=lambda page: page.name)
def page(request):
    return request.param


def test_every_table_is_the_one_of_its_csv_file(page):
    text = page.read_text(encoding="utf-8")
    assert pages.refreshed(text) == text, "run `uv run python -m bench.pages`"


def test_every_link_leads_to_a_file(page):
    broken = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in broken if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", EXPERIMENTS, ids=lambda page: page.name)
def test_an_experiment_has_a_question_a_command_and_a_verdict(page):
    text = page.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    for part in ("**Question.**", "```sh", "**Commit", "**Verdict.**", "<!-- table"):
        assert part in text


def commands(page):
    """The lines of a page's shell blocks, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [
        shlex.split(line, comments=True)
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
    ]


def test_commands_change_parameters_to_allowed_values(page):
    for words in commands(page):
        settings = [
            value for option, value in pairwise(words) if option == "-S" and not value.startswith("+")
        ]
        if "bench.ablations" in words:
            arguments = ablations.parser().parse_args(words[words.index("bench.ablations") + 1 :])
            settings = arguments.changes
            assert settings
            assert arguments.round in file.read(ablations.ROOT / PARAMS)["rounds"]
        params = file.read(ablations.ROOT / PARAMS)
        for setting in settings:
            ablations.apply(setting, params)
        check.check(params)


def test_every_table_of_tables_yaml_is_shown():
    shown = "".join(page.read_text(encoding="utf-8") for page in pages.PAGES.glob("*.md"))
    assert [name for name in pages.definitions() if f"<!-- table {name} -->" not in shown] == []


def test_an_unknown_table_is_refused():
    with pytest.raises(BadInput, match="found no table 99z"):
        pages.refreshed("<!-- table 99z -->\n")


def test_a_stale_table_is_replaced_and_the_rest_kept():
    stale = "before\n\n<!-- table 14a -->\n\n| old |\n| --- |\n| 1 |\n\nafter\n"
    fresh = pages.refreshed(stale)
    assert fresh.startswith("before\n\n<!-- table 14a -->\n\n| brake | speed |\n")
    assert fresh.endswith("|\n\nafter\n")
    assert "old" not in fresh


def test_rows_of_a_group_are_averaged():
    rows = [{"name": "a", "real": "900"}, {"name": "b", "real": "500"}, {"name": "a", "real": "880.5"}]
    first, second = pages.averaged(rows, ["name", "real", "evolutions"], ["name"])
    assert first == {"name": "a", "real": "890.2500", "evolutions": "2"}
    assert second == {"name": "b", "real": "500", "evolutions": "1"}


def test_points_gained_add_up_from_the_reported_score_to_the_published_agent():
    lines = pages.steps().splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    gained = sum(int(line[4]) for line in cells[1:])
    reported, published = int(cells[0][2]), int(cells[-1][2])
    assert abs(reported + gained - published) <= len(cells)  # each gain is rounded


def test_a_csv_file_grows_by_rows_and_by_columns(tmp_path):
    path = tmp_path / "new" / "t.csv"
    tables.append({"a": 1, "b": "x, y"}, path)
    tables.append({"b": "w", "c": 2}, path)
    assert tables.rows(path) == [{"a": "1", "b": "x, y", "c": ""}, {"a": "", "b": "w", "c": "2"}]
