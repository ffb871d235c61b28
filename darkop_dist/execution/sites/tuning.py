"""Settings of Dask for workers that are started here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SETTINGS: Mapping[str, str] = MappingProxyType({"distributed.worker.profile.interval": "100ms"})
"""Dask's configuration for workers of this process.

Each sample of the workers' statistical profiler interrupts the chunk for the interpreter's lock: 100 a second, which
is Dask's default, cost several percent of the processor. Ten a second are enough for a performance report.
"""

ENVIRONMENT: Mapping[str, str] = MappingProxyType({"DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL": "100ms"})
"""The same for workers that start with an environment of their own: jobs of a batch system, containers."""
