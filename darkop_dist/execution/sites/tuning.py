"""Settings of Dask for clusters and clients that are started here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SETTINGS: Mapping[str, str | int] = MappingProxyType(
    {
        "distributed.worker.profile.interval": "100ms",
        "distributed.admin.tick.interval": "500ms",
        "distributed.admin.low-level-log-length": 10,
    }
)
"""Dask's configuration for schedulers, workers and clients of this process.

Each sample of the workers' statistical profiler interrupts the chunk for the interpreter's lock: 100 a second, which
is Dask's default, cost several percent of the processor. Ten a second are enough for a performance report. The event
loop's clock, 50 times a second by default, serves only to warn of a loop that is held up, and costs over one percent.
Each end of each connection keeps the last 1000 messages for Dask's developers: with 1000 workers, that is 4 kB of the
scheduler's memory for every chunk of a run of 100 000.
"""

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(value) for name, value in SETTINGS.items()}
)
"""The same for workers that start with an environment of their own: jobs of a batch system, containers."""
