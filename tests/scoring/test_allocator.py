"""Arrays that come and go do not go back to the system each time, whatever the environment says."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from darkop_dist.scoring.allocator import keep_memory
if sys.argv[1] == "kept":
    assert keep_memory()
def work():
    for _ in range(200):
        np.ones(250_000)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}  # what Dask's nanny sets
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has these thresholds")
def test_memory_is_kept_against_the_environment() -> None:
    arrays = 200 * 2_000_000 // os.sysconf("SC_PAGESIZE")
    assert page_faults("as it is") > 0.9 * arrays
    assert page_faults("kept") < 0.02 * arrays
