"""The memory and cache settings of a process that computes."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COUNT_FAULTS = """
import resource
from bench import process
from wm.runtime import startup
{call}
def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 2**27
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
page_faults()
print(page_faults())
"""


def count_faults(call):
    """Page faults of 128 MB that were freed before."""
    words = [sys.executable, "-c", COUNT_FAULTS.format(call=call)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_freed_memory_is_kept():
    assert count_faults("startup.keep_memory()") < 100 < 30_000 < count_faults("")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_a_benchmark_keeps_freed_memory():
    assert count_faults("process.set_up()") < 100


def test_a_benchmark_keeps_compiled_programs_though_jax_is_imported_before():
    code = (
        "import jax\nfrom bench import process\nprocess.set_up()\nprint(jax.config.jax_compilation_cache_dir)"
    )
    words = [sys.executable, "-c", code]
    others = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    folder = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, env=others).stdout
    assert Path(folder).parent.name == ".scratch"


EXPLORE = """
import sys
from pathlib import Path
from stages import {stage}
from wm.agent.agent_files import AgentFiles
AgentFiles(*(Path("models/pretrained", name) for name in ("vae.eqx", "rnn.eqx", "controller.eqx"))).check()
print(*sorted({{"jax", "equinox", "cv2", "gymnasium", "scipy"}} & sys.modules.keys()))
"""


@pytest.mark.parametrize("stage", ["explore", "evaluate"])
def test_a_stage_whose_workers_drive_checks_the_models_without_jax(stage):
    words = [sys.executable, "-c", EXPLORE.format(stage=stage)]
    assert subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout == "\n"


def test_a_benchmark_computes_as_for_all_results_though_jax_is_imported_before():
    code = """
import jax
from bench import process
assert jax.config.jax_enable_x64 and jax.config.jax_default_prng_impl == "rbg"
process.set_up()
print(jax.config.jax_enable_x64, jax.config.jax_default_prng_impl)
"""
    variables = os.environ | {"JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg"}
    words = [sys.executable, "-c", code]
    said = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, env=variables).stdout
    assert said == "False threefry2x32\n"


@pytest.mark.parametrize("path", sorted((ROOT / "bench").glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_sets_up_its_process_first(path):
    _, main, body = path.read_text(encoding="utf-8").partition('if __name__ == "__main__":\n')
    assert not main or body.startswith("    process.set_up()\n")
