"""Who works here: the name under which the ledger knows a worker."""

from __future__ import annotations

import os
import sys


def worker_name() -> str:
    """Address of the Dask worker that this thread belongs to, or the number of the process."""
    if "distributed" in sys.modules:
        from distributed import get_worker

        try:
            return str(get_worker().address)
        except ValueError:
            pass
    return f"process {os.getpid()}"
