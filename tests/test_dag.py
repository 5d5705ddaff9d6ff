"""dvc.yaml declares what the code depends on; the code keeps its layers and limits of size."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bench import structure
from stages import deps
from wm.params.model import MACHINE_SECTIONS
from wm.runtime import code

ROOT = Path(__file__).parents[1]
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
COMMANDS = {"deps"}  # modules of stages/ that are no stage of dvc.yaml


def body(stage):
    return stage.get("do", stage)


def module(stage):
    """The module that a stage of dvc.yaml runs: the third word after `python -m stages`."""
    words = body(stage)["cmd"].split()
    assert words[:3] == ["python", "-m", "stages"]
    return words[3]


def stage_modules():
    return sorted(path.stem for path in (ROOT / "stages").glob("[a-z]*.py") if path.stem not in COMMANDS)


def test_every_stage_module_is_in_the_dag():
    assert {module(stage) for stage in STAGES.values()} == set(stage_modules())


def code_deps(name):
    return [dep for dep in body(STAGES[name])["deps"] if dep.split("/")[0] in code.PACKAGES]


@pytest.mark.parametrize("name", STAGES)
def test_declared_code_is_the_imported_code_or_its_folder(name):
    """A folder is declared where several of its modules are imported."""
    declared = {ROOT / dep for dep in code_deps(name)}
    imported = {code.source(one).path for one in code.stage_modules(module(STAGES[name]))}
    assert {path for path in imported if not declared & {path, path.parent}} == set()
    for path in declared:
        assert path in imported or len({one for one in imported if one.parent == path}) >= deps.MODULES


MODULES_OF_LATER_STAGES = {
    # stage: code that runs after it and so must not be among its deps
    "collect": ("wm/models", "wm/agent", "wm/dream", "wm/search"),
    "train_vae": ("wm/models/rnn.py", "wm/models/controller.py", "wm/agent", "wm/dream", "wm/search"),
    "train_rnn": ("wm/models/controller.py", "wm/models/value.py", "wm/dream/unroll.py", "wm/search"),
    "evolve": ("wm/agent/driving.py", "wm/track", "wm/fidelity", "wm/viewer"),
    "explore": ("wm/dream", "wm/search", "wm/fidelity", "wm/report", "wm/viewer"),
    "evaluate": ("wm/search", "wm/fidelity", "wm/report"),
}


@pytest.mark.parametrize("name", MODULES_OF_LATER_STAGES)
def test_editing_the_search_retrains_no_vae(name):
    """DVC reruns a stage if a dep changes, so that no stage may depend on the code of later ones."""
    for later in MODULES_OF_LATER_STAGES[name]:
        assert (ROOT / later).exists()
        related = [
            dep for dep in code_deps(name) if f"{dep}/".startswith(later) or later.startswith(f"{dep}/")
        ]
        assert related == []


@pytest.mark.parametrize("name", STAGES)
def test_declared_parameters_are_the_sections_read(name):
    """A round reads of `rounds` only its ancestors, whose outputs it depends on; a new round must not
    change the others. `process` reads only the names of `collect`, whose folders it depends on."""
    stage = STAGES[name]
    known = {"rounds"} if stage.get("foreach") == "${rounds}" else set()
    known |= {"collect", "rounds"} if module(stage) == "process" else set()
    declared = {param.split(".")[0] for param in body(stage).get("params", [])}
    assert declared - known == code.sections_read(module(stage)) - known


def test_the_command_writes_what_the_test_checks():
    text = (ROOT / "dvc.yaml").read_text()
    kept = [line for line in text.splitlines() if not deps.CODE.match(line)]
    stripped = "\n".join(kept) + "\n"
    assert stripped != text
    assert deps.with_code_deps(stripped) == text


def test_nothing_imports_upward():
    assert structure.upward(structure.graph()) == []


def test_no_modules_and_no_packages_import_each_other_in_a_circle():
    modules = structure.graph()
    assert structure.cycle(modules) == []
    assert structure.cycle(structure.packages(modules)) == []


def test_an_upward_import_and_a_cycle_would_be_seen():
    modules = {"wm.a.x": {"wm.b.y"}, "wm.b.z": {"wm.a.w"}, "wm.models.rnn": {"wm.dream.unroll"}}
    assert structure.cycle(modules) == []
    assert sorted(set(structure.cycle(structure.packages(modules)))) == ["wm.a", "wm.b"]
    assert structure.upward({"wm.models.rnn": {"wm.dream.unroll"}}) == ["wm.models.rnn -> wm.dream.unroll"]
    with pytest.raises(LookupError, match=r"wm\.nowhere"):
        structure.layer("wm.nowhere.x")


def test_the_library_never_imports_stages():
    modules = structure.graph()
    assert not [
        name
        for name in modules
        if name.startswith("wm") and any(one.startswith("stages") for one in modules[name])
    ]


@pytest.mark.parametrize("name", [*stage_modules(), *sorted(COMMANDS)])
def test_stages_never_import_each_other(name):
    assert not [one for one in code.imports(f"stages.{name}") if one.startswith("stages")]


@pytest.mark.parametrize("name", [*stage_modules(), *sorted(COMMANDS), "__main__"])
def test_stages_are_short(name):
    assert structure.lines(ROOT / "stages" / f"{name}.py") <= structure.LONGEST_STAGE


def test_functions_have_few_parameters():
    places = [one.place for one in structure.all_functions() if one.parameters > structure.MOST_PARAMETERS]
    assert places == []


def test_parameters_are_counted_in_all_their_forms():
    source = "class C:\n    def m(self, a, /, b, *c, d, **e):\n        async def f(cls): pass\n"
    assert list(structure.functions(source, "x.py")) == [("x.py: m", 5, 2), ("x.py: f", 0, 1)]


@pytest.mark.parametrize("name", ["collect", "process", "report"])
def test_stages_that_compute_nothing_with_jax_do_not_import_it(name):
    """They start in a third of the time."""
    for one in code.stage_modules(name):
        text = code.source(one).path.read_text()
        assert not re.search(r"^(import|from) (jax|equinox|optax)\b", text, re.MULTILINE), one


def test_the_report_shows_no_number_that_it_does_not_depend_on():
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    assert set(STAGES["report"]["params"]) == set(params) - set(MACHINE_SECTIONS)


def test_the_structure_is_printed(capsys):
    structure.main()
    printed = capsys.readouterr().out
    for line in (
        "import cycles between modules: none",
        "import cycles between packages: none",
        "upward imports: none",
    ):
        assert line in printed
    for word in (
        "longest stage: stages/",
        "longest module: wm/",
        "most parameters of a function:",
        "median",
        "README.md",
    ):
        assert word in printed
