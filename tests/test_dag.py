"""dvc.yaml says what the code does: dependencies, layers, parameters."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages import gather
from wm.params.check import WHERE

ROOT = Path(__file__).parents[1]
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]

LAYERS = [
    {"cli"},
    {"validation"},
    {"play", "watch"},
    {"game"},
    {
        "evolve",
        "fidelity",
        "envs",
        "film",
        "card",
        "web",
        "worlds",
        "export_onnx",
        "export_minari",
        "report_page",
    },
    {"agent", "dreaming"},
    {"dream", "rollout"},
    {"drivers"},
    {"controller"},
    {"vae", "rnn"},
    {"value"},
    {
        "mdn",
        "episodes",
        "car_racing",
        "fit",
        "parallel",
        "model_file",
        "devices",
        "resident",
        "metrics",
        "pictures",
        "charts",
        "markup",
    },
    {"gauges"},
    {"checkpoint", "journal", "scratch", "scores"},
    {"files", "config", "progress"},
]


def imported(path, package="wm"):
    """The modules of `package` that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (module := node.module or "").startswith(f"{package}."):
            found.add(module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith(f"{package}.")}
    return found


def reached(path):
    """All modules of wm that a file imports, directly or not."""
    found, left = set(), imported(path)
    while left:
        found |= left
        left = set().union(*(imported(ROOT / "wm" / f"{name}.py") for name in left)) - found
    return found


def body(stage):
    return stage.get("do", stage)


@pytest.mark.parametrize("name", STAGES)
def test_declared_code_is_the_imported_code(name):
    stage = body(STAGES[name])
    module = stage["cmd"].split()[2].removeprefix("stages.")
    code = {f"stages/{module}.py"} | {f"wm/{m}.py" for m in reached(ROOT / "stages" / f"{module}.py")}
    assert {dep for dep in stage["deps"] if dep.endswith(".py")} == code


@pytest.mark.parametrize("name", STAGES)
def test_declared_parameters_are_the_sections_read(name):
    stage = body(STAGES[name])
    module = stage["cmd"].split()[2].removeprefix("stages.")
    sections = set()
    for node in ast.walk(ast.parse((ROOT / "stages" / f"{module}.py").read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "section":
            sections.add(node.args[1].value)  # pyright: ignore
    sections -= set(WHERE)
    declared = {param.split(".")[0] for param in stage.get("params", [])}
    assert sections <= declared


def test_every_module_has_a_layer():
    modules = {path.stem for path in (ROOT / "wm").glob("*.py")} - {"__init__"}
    assert modules <= set().union(*LAYERS)


@pytest.mark.parametrize("path", sorted((ROOT / "wm").glob("*.py")), ids=lambda path: path.stem)
def test_nothing_imports_upward(path):
    if path.stem != "__init__":
        height = next(i for i, layer in enumerate(LAYERS) if path.stem in layer)
        above = set().union(*LAYERS[:height])
        assert not imported(path) & above


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("*.py")), ids=lambda path: path.stem)
def test_stages_never_import_each_other(path):
    assert not imported(path, "stages")


@pytest.mark.parametrize("module", ["rollout", "drivers", "car_racing", "episodes"])
def test_scripted_drives_need_no_jax(module):
    files = [ROOT / "wm" / f"{name}.py" for name in {module, *reached(ROOT / "wm" / f"{module}.py")}]
    for path in files:
        assert "import jax\n" not in path.read_text()
        assert "import equinox" not in path.read_text()


def test_the_report_shows_no_number_that_it_does_not_depend_on():
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    assert set(STAGES["report"]["params"]) == set(params) - set(WHERE)


def test_gather_copies_what_it_depends_on():
    deps = body(STAGES["gather"])["deps"]
    assert {dep for dep in deps if not dep.endswith(".py")} == {f"metrics/${{key}}/{n}" for n in gather.NAMES}
