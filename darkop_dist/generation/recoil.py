"""A cut on the recoil of a hard pair: the region of a mono-jet search, where Pythia has no matrix element for it."""

from __future__ import annotations

import math
from typing import Any

import pythia8mc

OUTGOING = (5, 6)  # of a two-to-two process in Pythia's event record


class RecoilCut(pythia8mc.UserHooks):  # type: ignore[misc]
    """Vetoes events whose hard pair recoils too little against the parton shower, before they are hadronised.

    Pythia takes the vetoed share out of its cross section. The virtual methods keep Pythia's names.
    """

    def __init__(self, minimum_gev: float) -> None:
        super().__init__()
        self._minimum_gev = minimum_gev

    def canVetoPartonLevelEarly(self) -> bool:  # noqa: N802 - Pythia's name
        """Ask after the showers of the initial state and of the hard process."""
        return True

    def doVetoPartonLevelEarly(self, event: Any) -> bool:  # noqa: N802 - Pythia's name
        """Whether the vector sum of the pair's transverse momenta is below the minimum."""
        pair = [event[event[place].iBotCopyId()] for place in OUTGOING]
        return math.hypot(sum(p.px() for p in pair), sum(p.py() for p in pair)) < self._minimum_gev
