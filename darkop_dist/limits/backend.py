"""pyhf's numerics, set for one block of code and restored after it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyhf


@contextmanager
def numpy_backend() -> Iterator[None]:
    """Use pyhf's NumPy backend in double precision with SciPy's SLSQP; restore the caller's backend afterwards.

    Warnings that a minimiser causes when it tries extreme parameters are suppressed inside: SciPy warns that SLSQP
    stepped outside the bounds before it clips the step, NumPy that a logarithm met zero. What counts is whether the
    fit ends well, and that is checked. pyhf's backend is global: one thread at a time.
    """
    tensorlib, optimizer = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(), precision="64b")
    try:
        with quiet_schema(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        pyhf.set_backend(tensorlib, optimizer)


@contextmanager
def quiet_schema() -> Iterator[None]:
    """Suppress the deprecation that jsonschema reports whenever pyhf 0.7.6 validates; it may go with pyhf 0.8."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="jsonschema.RefResolver", category=DeprecationWarning)
        yield
