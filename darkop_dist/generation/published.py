"""What a collaboration has published about its detector, with sources, read from ``responses/published/``."""

from __future__ import annotations

import tomllib

import numpy as np
from pydantic import BaseModel, ConfigDict

from darkop_dist.errors import UnknownNameError
from darkop_dist.generation.card import RESPONSE_DIRECTORY, Floats, ResponseCard

PUBLISHED_DIRECTORY = RESPONSE_DIRECTORY / "published"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JetResolution(_Section):
    """sigma(pt)/pt = sqrt(N |N| / pt^2 + S^2 pt^d + C^2), pt in GeV.

    Where N is negative the formula falls to zero at small pt, so below ``pt_min`` it goes on as 1/sqrt(pt).

    Attributes:
        title: which jets.
        source: the papers and files.
        eta: edges in |eta|; beyond the last as in the last bin.
        parameters: N, S, C and d of each bin.
        pt_min: where the formula ends towards small pt if N is negative, in GeV.
        bins: edges in |eta| in which ours is fitted and shown.
        tolerance: relative difference that counts as agreement.
    """

    title: str
    source: str
    eta: tuple[float, ...]
    parameters: tuple[tuple[float, float, float, float], ...]
    pt_min: float = 0.0
    bins: tuple[float, ...]
    tolerance: float

    def at(self, pt: Floats, eta: Floats) -> Floats:
        """sigma(pt)/pt of each jet, shape (jets,)."""
        row = np.searchsorted(self.eta, np.abs(eta), side="right") - 1
        noise, stochastic, constant, power = np.asarray(self.parameters)[np.minimum(row, len(self.parameters) - 1)].T
        inside = np.where(noise < 0, np.maximum(pt, self.pt_min), pt)
        variance = noise * np.abs(noise) / inside**2 + stochastic**2 * inside**power + constant**2
        return np.asarray(np.sqrt(np.maximum(variance, 0.0) * inside / pt))


class Jets(_Section):
    """Resolutions of small and large jets."""

    small: JetResolution
    large: JetResolution | None = None


class MissingMomentum(_Section):
    """sigma of each component of the missing momentum = stochastic * sqrt(sum of ET), in GeV."""

    title: str
    source: str
    stochastic: float
    tolerance: float


class Crowded(_Section):
    """Missing momentum under pile-up: sigma^2 = alone^2 + collisions * per_collision^2 in GeV.

    Attributes:
        column: of NanoAOD, ``MET`` or ``PuppiMET``.
        title: what it is shown as.
        source: the papers.
        alone: without pile-up.
        per_collision: what one collision adds in quadrature.
        tolerance: relative difference that counts as agreement.
    """

    column: str
    title: str
    source: str
    alone: float
    per_collision: float
    tolerance: float

    def at(self, collisions: Floats) -> Floats:
        """The resolution for numbers of collisions, of any shape."""
        return np.asarray(np.sqrt(self.alone**2 + collisions * self.per_collision**2))


class Curve(_Section):
    """Points of one curve.

    Attributes:
        quantity: what it is, a key of `validation.QUANTITIES`.
        label: what it is shown as.
        eta: range in |eta|.
        x: pt in GeV, or the radius of production in mm.
        y: the quantity there.
        tolerance: relative difference that counts as agreement.
        source: the papers.
    """

    quantity: str
    label: str
    eta: tuple[float, float]
    x: tuple[float, ...]
    y: tuple[float, ...]
    tolerance: float
    source: str


class Published(_Section):
    """All that is known about one detector."""

    jets: Jets
    met: MissingMomentum
    crowded: tuple[Crowded, ...] = ()
    curve: tuple[Curve, ...]


def load_published(card: ResponseCard) -> Published:
    """Read what is published about the detector of a response card.

    Raises:
        UnknownNameError: there is nothing published under the name that the card gives.
    """
    name = card.published or card.name
    known = sorted(path.stem for path in PUBLISHED_DIRECTORY.glob("*.toml"))
    if name not in known:
        raise UnknownNameError(
            "published detector", name, known, f"The card {card.name} must name one as `published`: {', '.join(known)}."
        )
    return Published.model_validate(tomllib.loads((PUBLISHED_DIRECTORY / f"{name}.toml").read_text(encoding="utf-8")))
