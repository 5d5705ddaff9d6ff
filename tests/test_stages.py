"""What `stages` sets up for the process of every stage."""

import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import stages
{call}
def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 2**27
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
page_faults()
print(page_faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="its allocator is asked")
def test_memory_that_is_given_back_is_not_cleared_again():
    def count(call):
        words = [sys.executable, "-c", COUNT_FAULTS.format(call=call)]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    assert count("stages.keep_memory()") < 100 < 30_000 < count("")
