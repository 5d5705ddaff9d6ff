"""The memory and cache settings of a process that computes."""

import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
from wm.runtime import startup
{call}
def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 2**27
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
page_faults()
print(page_faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_freed_memory_is_kept():
    def count(call):
        words = [sys.executable, "-c", COUNT_FAULTS.format(call=call)]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    assert count("startup.keep_memory()") < 100 < 30_000 < count("")
