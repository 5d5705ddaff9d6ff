"""Imports are found in the source, wherever they stand, or refused."""

import pytest

from wm.runtime import code

MODULES = [
    "wm",
    "wm.a",
    "wm.p",
    "wm.p.b",
    "wm.p.c",
    "wm.p.q",
    "wm.p.q.d",
    "wm.lazy",
    "wm.lazy.m",
    "wm.params",
    "wm.params.model",
    "stages",
    "stages.s",
    "stages.t",
]


LAZY = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from wm.a import f
__all__ = ["f"]
def __getattr__(name):
    from wm.a import f
    return f
"""


@pytest.fixture
def project(tmp_path):
    """A function that writes modules, by name, into a project with those of MODULES; it returns the root."""

    def write(**sources):
        code.source.cache_clear()
        code.imports.cache_clear()
        for name in MODULES:
            path = tmp_path.joinpath(*name.split("."))
            package = any(one.startswith(f"{name}.") for one in MODULES)
            file = path / "__init__.py" if package else path.with_suffix(".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(sources.get(name.replace(".", "_"), '"""Nothing."""\n'))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nimport numpy.linalg", set()),
        ("import wm.a", {"wm.a"}),
        ("import wm.p.b as x, wm.a", {"wm.a", "wm.p.b"}),
        ("from wm import a", {"wm.a"}),
        ("from wm.a import anything", {"wm.a"}),
        ("from wm.p.q import d", {"wm.p.q.d"}),
        ("from wm.p.q.d import *", {"wm.p.q.d"}),
        ("from wm.lazy import f", {"wm.lazy"}),
        ("from wm.lazy import m", {"wm.lazy.m"}),
        ("import wm.lazy.m", {"wm.lazy.m"}),
        ("import wm.lazy", {"wm.lazy"}),
        ("from . import b", {"wm.p.b"}),
        ("from .q import d", {"wm.p.q.d"}),
        ("from .b import x", {"wm.p.b"}),
        ("from .. import a", {"wm.a"}),
        ("from ..a import x", {"wm.a"}),
        ("def f():\n    if True:\n        from wm import a", {"wm.a"}),
        ("class C:\n    import wm.a", {"wm.a"}),
        ("import importlib\nimportlib.import_module('wm.a')", {"wm.a"}),
        ("from importlib import import_module\nimport_module('.b', __package__)", {"wm.p.b"}),
        ("from importlib import import_module as load\nload('..a', __package__)", {"wm.a"}),
        ("__import__('wm.a')", {"wm.a"}),
        ("import importlib\nimportlib.import_module('numpy')", set()),
        ("import importlib\nx = 1\nimportlib.import_module(f'numpy.{x}')", set()),
        ("import importlib\nx = 1\nimportlib.import_module(f'wm.p.{x}')", {"wm.p.b", "wm.p.q.d"}),
        ("import importlib\nx = 1\nimportlib.import_module(f'wm.{x}.d')", {"wm.p.q.d"}),
        ("import importlib\nx = 1\nimportlib.import_module(f'stages.{x}')", {"stages.s", "stages.t"}),
    ],
)
def test_an_import_is_found(project, text, expected):
    assert code.imports("wm.p.c", project(wm_p_c=text, wm_lazy=LAZY)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "import importlib\ndef f(name):\n    importlib.import_module(name)",
        "import importlib\ndef f(name):\n    importlib.import_module(f'{name}.b')",
        "import importlib\ndef f(name):\n    importlib.import_module('wm.' + name)",
        "from importlib import import_module as load\nmap(load, ['wm.a'])",
        "load = __import__",
        "import runpy\nrunpy.run_module('wm.a')",
    ],
)
def test_an_import_by_a_computed_name_is_refused(project, text):
    with pytest.raises(ValueError, match=r"c\.py, line \d"):
        code.imports("wm.p.c", project(wm_p_c=text))


def test_an_import_of_a_missing_module_is_refused(project):
    with pytest.raises(ModuleNotFoundError, match=r"wm\.gone"):
        code.imports("wm.a", project(wm_a="import wm.gone"))


def test_a_package_counts_once_it_holds_code(project):
    root = project(wm_p_c="from wm.p.q import d", wm_p="x = 1\n")
    assert code.imports("wm.p.b", project(wm_p_b="from wm.p.q import d", wm_p="x = 1\n")) == {
        "wm.p",
        "wm.p.q.d",
    }
    assert "wm" not in code.imports("wm.p.c", root)


@pytest.mark.parametrize(
    "line", ["import wm.a", "from wm.a import f", "from . import m", "f()", "@f\ndef g(): pass"]
)
def test_an_init_that_runs_code_counts_with_every_module_of_its_package(project, line):
    root = project(wm_lazy=f"{LAZY}{line}\n", wm_p_c="from wm.lazy import m")
    assert code.imports("wm.p.c", root) == {"wm.lazy", "wm.lazy.m"}


def test_a_use_of_the_public_entry_counts_what_it_imports():
    assert "wm" not in code.closure("wm.cli")
    assert code.imports("wm") == {"wm.agent.folder"}


def test_the_closure_follows_every_import(project):
    root = project(
        stages_s="from wm.p import c", wm_p_c="def f():\n    from .q import d", wm_p_q_d="import wm.a"
    )
    assert code.closure("stages.s", root) == {"stages.s", "wm.p.c", "wm.p.q.d", "wm.a"}


def test_the_checksum_sees_a_change_in_a_subpackage(project):
    root = project()
    before = code.digest(code.project(root), root)
    project(wm_p_q_d="x = 1\n")
    assert code.digest(code.project(root), root) != before


def test_the_project_is_all_of_its_modules():
    assert {"wm.cli", "wm.runtime.code", "wm.dream.unroll", "stages.evolve", "wm.params"} <= set(
        code.project()
    )


def test_a_stage_depends_on_the_sections_that_it_reads():
    modules = code.stage_modules("train_vae")
    assert "wm.params.train_vae" in modules
    assert not modules & {"wm.params.model", "wm.params.rank", "stages.__main__"}
    assert code.sections_read("initialise") == {"initialise"}
    assert code.sections_read("fidelity") == {
        "environment",
        "explore",
        "fidelity",
        "rank",
        "rounds",
    }  # a method reads the rounds


def test_params_that_a_stage_passes_on_are_refused(project):
    model = "MACHINE_SECTIONS = ('compute',)\nclass Params:\n    rank: int\n    compute: int\n"
    text = "from wm.params.model import Params\nfrom wm.a import f\ndef main(params: Params):\n    f({})"
    assert code.sections_read("s", project(wm_params_model=model, stages_s=text.format("params.rank"))) == {
        "rank"
    }
    with pytest.raises(ValueError, match=r"s\.py, line 4: passes all params on"):
        code.sections_read("s", project(wm_params_model=model, stages_s=text.format("params")))
