"""The normalisation of a sample: sums of weights and the cross section, combined from its parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PartNormalisation:
    """What one part knows of the normalisation.

    Attributes:
        events: number of events.
        sum_weights: sum of the generator weights.
        sum_weights2: sum of their squares.
        tried: points in phase space that were tried.
        xsec_pb: cross section estimated from this part, in pb.
        xsec_error_pb: its statistical uncertainty in pb.
        failed: events that were left out because Pythia failed them or a matching vetoed them; the cross section is
            that of the others.
    """

    events: int
    sum_weights: float
    sum_weights2: float
    tried: int
    xsec_pb: float
    xsec_error_pb: float
    failed: int = 0


@dataclass(frozen=True)
class Normalisation:
    """What is known of a whole sample; the attributes mean what they mean for a part."""

    events: int
    sum_weights: float
    sum_weights2: float
    xsec_pb: float
    xsec_error_pb: float
    failed: int = 0


def combine(parts: Sequence[PartNormalisation]) -> Normalisation:
    """Normalisation of a sample from its parts.

    A part's cross section is a mean over the points that it tried, so the mean over all points weights the parts by
    their numbers of tries; weights by accepted events would favour upward fluctuations.

    >>> a = PartNormalisation(1, 1.0, 1.0, 100, 2.0, 0.2)
    >>> b = PartNormalisation(1, 1.0, 1.0, 300, 4.0, 0.2)
    >>> combine([a, b]).xsec_pb
    3.5
    """
    tried = sum(part.tried for part in parts)
    return Normalisation(
        events=sum(part.events for part in parts),
        sum_weights=math.fsum(part.sum_weights for part in parts),
        sum_weights2=math.fsum(part.sum_weights2 for part in parts),
        xsec_pb=math.fsum(part.tried * part.xsec_pb for part in parts) / tried,
        xsec_error_pb=math.sqrt(math.fsum((part.tried * part.xsec_error_pb) ** 2 for part in parts)) / tried,
        failed=sum(part.failed for part in parts),
    )
