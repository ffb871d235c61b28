"""The parameters of a HistFactory workspace and their constraints, as pyhf 0.7 defines them.

A parameter is free (normfactor, shapefactor), or an auxiliary measurement constrains it: a normal one (lumi, normsys,
histosys, staterror) or a Poisson one (shapesys). Starting values, bounds and constants can be set in the measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import StatisticsError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

KINDS = ("normfactor", "lumi", "normsys", "histosys", "shapefactor", "shapesys", "staterror")
PER_BIN = ("shapefactor", "shapesys", "staterror")
LOWEST_FACTOR, HIGHEST_FACTOR = 1e-10, 10.0  # pyhf's bounds of per-bin factors
ALPHA_BOUND = 5.0  # pyhf's bound of normsys and histosys, in standard deviations


@dataclass(frozen=True, eq=False)
class Parameters:
    """All parameters, each as one number; shapes are (parameters,) where not said.

    Attributes:
        names: as in pyhf: per-bin parameters carry the bin's number, such as ``mc_statistics[3]``.
        initial: starting values.
        low: lower bounds.
        high: upper bounds.
        held: constants of the model.
        normal: positions of those with a normal constraint, shape (normal,).
        sigma: its standard deviations, shape (normal,).
        poisson: positions of those with a Poisson constraint, shape (poisson,).
        tau: expected auxiliary counts at 1, shape (poisson,).
        auxiliary: the measurements that constrain, normal ones first, shape (normal + poisson,).
        spans: where the numbers of a parameter of the workspace are.
    """

    names: tuple[str, ...]
    initial: Floats
    low: Floats
    high: Floats
    held: Bools
    normal: npt.NDArray[np.intp]
    sigma: Floats
    poisson: npt.NDArray[np.intp]
    tau: Floats
    auxiliary: Floats
    spans: Mapping[str, slice]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def constrained(self) -> Bools:
        """Which have a constraint, shape (parameters,)."""
        flags = np.zeros(len(self), dtype=bool)
        flags[self.normal] = flags[self.poisson] = True
        return flags

    @property
    def nominal(self) -> Floats:
        """The values that the constraints prefer, and the starting values of free parameters, shape (parameters,)."""
        values = self.initial.copy()
        values[self.normal] = self.auxiliary[: len(self.normal)]
        values[self.poisson] = self.auxiliary[len(self.normal) :] / self.tau
        return values

    @property
    def widths(self) -> Floats:
        """Standard deviations of the constraints, 0 for free parameters and constants, shape (parameters,)."""
        values = np.zeros(len(self))
        values[self.normal] = self.sigma
        values[self.poisson] = 1.0 / np.sqrt(self.tau)
        return np.where(self.held, 0.0, values)


@dataclass(frozen=True)
class _Required:
    """What the modifiers of one name ask for; None stands for a value that the measurement has to give."""

    kind: str
    size: int
    initial: float | None
    bounds: tuple[float, float] | None
    held: tuple[bool, ...]
    auxiliary: tuple[float, ...] | None = None
    width: tuple[float, ...] | None = None  # sigma, or tau of a Poisson constraint


def parameters_of(channels: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]) -> Parameters:
    """The parameters of a model.

    Args:
        channels: channels of the workspace, in the order of the bins.
        settings: the measurement's ``parameters``.

    Raises:
        StatisticsError: modifiers of one name that ask for different parameters, or settings that do not fit.
    """
    required: dict[str, _Required] = {}
    for kind in KINDS:
        for name, wanted in _required(kind, channels).items():
            known = required.setdefault(name, wanted)
            if known != wanted and {known.kind, wanted.kind} != {"normsys", "histosys"}:
                raise StatisticsError(
                    f"the modifiers named {name} are of the kinds {known.kind} and {wanted.kind}, or have different "
                    "numbers of bins: they cannot share a parameter; give them names of their own"
                )
    chosen = {str(setting["name"]): setting for setting in settings}
    if len(chosen) != len(settings):
        raise StatisticsError("the measurement sets a parameter twice")
    rows = [_Row.of(name, wanted, chosen.get(name, {})) for name, wanted in required.items()]
    spans, start = {}, 0
    for row in rows:
        spans[row.name] = slice(start, start + row.size)
        start += row.size
    places = {
        kind: np.concatenate(
            [np.arange(start)[spans[row.name]] for row in rows if row.constraint == kind] or [np.zeros(0, dtype=int)]
        )
        for kind in ("normal", "poisson")
    }
    return Parameters(
        names=tuple(name for row in rows for name in row.labels),
        initial=_joined([row.initial for row in rows]),
        low=_joined([row.low for row in rows]),
        high=_joined([row.high for row in rows]),
        held=_joined([row.held for row in rows]).astype(bool),
        normal=places["normal"],
        sigma=_joined([row.width for row in rows if row.constraint == "normal"]),
        poisson=places["poisson"],
        tau=_joined([row.width for row in rows if row.constraint == "poisson"]),
        auxiliary=_joined([row.auxiliary for kind in ("normal", "poisson") for row in rows if row.constraint == kind]),
        spans=spans,
    )


@dataclass(frozen=True, eq=False)
class _Row:
    """A parameter of the workspace, with one number per bin where it has bins."""

    name: str
    labels: tuple[str, ...]
    constraint: str
    initial: Floats
    low: Floats
    high: Floats
    held: Floats
    auxiliary: Floats
    width: Floats

    @property
    def size(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, name: str, wanted: _Required, setting: Mapping[str, Any]) -> _Row:
        constraint = {"shapesys": "poisson", "normfactor": "free", "shapefactor": "free"}.get(wanted.kind, "normal")
        labels = tuple(f"{name}[{bin_}]" for bin_ in range(wanted.size)) if wanted.kind in PER_BIN else (name,)

        def column(key: str, default: object) -> Floats:
            given = setting.get(key, default)
            if given is None:
                raise StatisticsError(f"the parameter {name} ({wanted.kind}) needs {key} in the measurement")
            values = np.atleast_1d(np.asarray(given, dtype=np.float64))
            if not np.all(np.isfinite(values)):
                raise StatisticsError(f"the measurement gives {name} {key} that are not finite: {given}")
            if len(values) not in (1, wanted.size):
                raise StatisticsError(f"the measurement gives {name} {len(values)} {key}; it has {wanted.size} bins")
            return np.broadcast_to(values, (wanted.size, *values.shape[1:])).copy()

        bounds = column("bounds", None if wanted.bounds is None else [wanted.bounds])
        if np.any(bounds[:, 0] > bounds[:, 1]):
            raise StatisticsError(f"the measurement gives {name} bounds whose lower one is above: {bounds.tolist()}")
        none = np.zeros(0)
        free = constraint == "free"
        width = none if free else column("factors" if constraint == "poisson" else "sigmas", wanted.width)
        if np.any(width <= 0):
            raise StatisticsError(f"the constraint of {name} has a width that is not positive")
        return cls(
            name=name,
            labels=labels,
            constraint=constraint,
            initial=column("inits", wanted.initial),
            low=bounds[:, 0],
            high=bounds[:, 1],
            held=column("fixed", wanted.held),
            auxiliary=none if free else column("auxdata", wanted.auxiliary),
            width=width,
        )


def _required(kind: str, channels: Sequence[Mapping[str, Any]]) -> dict[str, _Required]:
    found: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any], str]]] = {}
    for channel in channels:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] == kind:
                    found.setdefault(modifier["name"], []).append((modifier, sample, channel["name"]))
    return {name: _required_of(kind, name, uses) for name, uses in found.items()}


def _required_of(kind: str, name: str, uses: list[tuple[Mapping[str, Any], Mapping[str, Any], str]]) -> _Required:
    sizes = {len(sample["data"]) for _, sample, _ in uses}
    if kind == "normfactor":
        return _Required(kind, 1, 1.0, (0.0, 10.0), (False,))
    if kind == "lumi":
        return _Required(kind, 1, None, None, (False,))
    if kind in ("normsys", "histosys"):
        return _Required(kind, 1, 0.0, (-ALPHA_BOUND, ALPHA_BOUND), (False,), (0.0,), (1.0,))
    if kind == "shapefactor":
        if len(sizes) > 1:
            raise StatisticsError(f"the shapefactor {name} stands in channels with {sorted(sizes)} bins; give it one")
        return _Required(kind, max(sizes), 1.0, (0.0, 10.0), (False,) * max(sizes))
    factor_bounds = (LOWEST_FACTOR, HIGHEST_FACTOR)
    if kind == "shapesys":
        if len(uses) > 1:
            raise StatisticsError(f"the shapesys {name} stands in {len(uses)} samples; each needs a name of its own")
        tau, held = _effective_counts(*uses[0][:2])
        return _Required(kind, len(tau), 1.0, factor_bounds, held, tau, tau)
    sigma, held = _relative_errors(uses)
    return _Required(kind, len(sigma), 1.0, factor_bounds, held, (1.0,) * len(sigma), sigma)


def _effective_counts(
    modifier: Mapping[str, Any], sample: Mapping[str, Any]
) -> tuple[tuple[float, ...], tuple[bool, ...]]:
    """(yield / uncertainty)^2 per bin; 1 and held where one of them is zero."""
    pairs = list(zip(sample["data"], modifier["data"], strict=True))
    valid = tuple(value > 0 and error > 0 for value, error in pairs)
    tau = tuple((value / error) ** 2 if good else 1.0 for (value, error), good in zip(pairs, valid, strict=True))
    return tau, tuple(not good for good in valid)


def _relative_errors(
    uses: list[tuple[Mapping[str, Any], Mapping[str, Any], str]],
) -> tuple[tuple[float, ...], tuple[bool, ...]]:
    """Errors of the samples together over their sum, channel by channel; 1 and held where one of them is zero."""
    errors: list[Floats] = []
    for channel in dict.fromkeys(name for *_, name in uses):
        members = [(modifier, sample) for modifier, sample, name in uses if name == channel]
        total = np.sum([sample["data"] for _, sample in members], axis=0)
        spread = np.sqrt(np.sum([np.square(modifier["data"]) for modifier, _ in members], axis=0))
        errors.append(np.divide(spread, total, out=np.zeros(len(total)), where=total > 0))
    relative = np.concatenate(errors)
    held = relative == 0
    return tuple(np.where(held, 1.0, relative).tolist()), tuple(held.tolist())


def _joined(parts: Sequence[Floats]) -> Floats:
    return np.concatenate([*parts, np.zeros(0)]).astype(np.float64)
