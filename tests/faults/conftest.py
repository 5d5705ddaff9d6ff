"""The small project, run once and undisturbed."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `small` is imported by that name

import small

RUN_ALL = """
from importlib import import_module
from wm import config
for stage, words in {stages!r}.items():
    config.run(import_module("stages." + stage).main, *words)
"""


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory, pytestconfig):
    """What JAX compiles for one test's processes serves those of the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        patch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")  # to compile is all they do
        yield


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """A folder in which every stage has run."""
    folder = tmp_path_factory.mktemp("project")
    small.params(folder)
    stages = {"collect": ["erratic"]}
    for words in (stages, small.STAGES):
        code, said = small.run(folder, [sys.executable, "-c", RUN_ALL.format(stages=words)])
        assert code == 0, said
    assert small.leftovers(folder) == []
    return folder
