"""How this process gives memory back to the system: seldom, because arrays of a chunk come and go thousands of times.

Dask's nanny starts workers with ``MALLOC_TRIM_THRESHOLD_=65536``. glibc takes any such variable as the wish for fixed
thresholds: every array above 128 KiB is then mapped from the system and unmapped again. A chunk of 250 k events paid
3500 unmappings and a million page faults instead of fifty thousand for that, and 2.4 times the processor time. The
variable also stays in the environment of the process that started the workers, for all its later children. So the
thresholds are set at run time, in whatever process a chunk is read or a model scores. A model pays too: the Fourier
neural operator takes 1.6 times as long on 256 events with glibc's own thresholds, 3 times with Dask's variable.

See mallopt(3) and https://distributed.dask.org/en/stable/worker-memory.html#automatically-trim-memory.
"""

from __future__ import annotations

import ctypes
import functools
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
MAPPED_FROM_BYTES = 32 << 20  # glibc's largest: smaller arrays are taken from memory that the process has already
KEPT_FREE_BYTES = 256 << 20  # so much free memory at the top of the heap stays with the process
TAKEN_AT_ONCE_BYTES = 64 << 20  # the heap of a thread is 64 MiB: with this it is not given back when it is empty


@functools.cache
def keep_memory() -> bool:
    """Let this process keep the memory that its arrays free, up to 256 MiB; done once, and only with glibc.

    Returns:
        Whether the thresholds were set.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = {
        M_MMAP_THRESHOLD: MAPPED_FROM_BYTES,
        M_TRIM_THRESHOLD: KEPT_FREE_BYTES,
        M_TOP_PAD: TAKEN_AT_ONCE_BYTES,
    }
    taken = [mallopt(option, size) for option, size in wanted.items()]
    return all(taken)
