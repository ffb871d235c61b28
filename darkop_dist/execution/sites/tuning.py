"""Settings of Dask for workers that are started here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SETTINGS: Mapping[str, str] = MappingProxyType(
    {"distributed.worker.profile.interval": "100ms", "distributed.admin.tick.interval": "500ms"}
)
"""Dask's configuration for workers of this process.

Each sample of the workers' statistical profiler interrupts the chunk for the interpreter's lock: 100 a second, which
is Dask's default, cost several percent of the processor. Ten a second are enough for a performance report. The event
loop's clock, 50 times a second by default, serves only to warn of a loop that is held up, and costs over one percent.
"""

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {f"DASK_{name.upper().replace('.', '__')}": value for name, value in SETTINGS.items()}
)
"""The same for workers that start with an environment of their own: jobs of a batch system, containers."""
