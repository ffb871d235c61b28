"""Representations: events as float32 model inputs of fixed shape. Pure functions.

``cylinder``: fields of transverse momentum on the eta-phi cylinder, shape (events, channels, towers_eta, towers_phi).
    Every object is a Gaussian in (eta, phi), normalised over the towers, so that a field sums to the transverse momenta
    of its objects. phi is periodic: rotating all objects by one tower rolls the field by one tower. In eta the Gaussian
    is cut off at the edges and normalised inside; objects outside the eta range are left out. Missing transverse
    momentum has no eta: it is a strip, uniform in eta.
``columns``: flat features, shape (events, columns).
``level1``: objects as the integers of a trigger's hardware, shape (events, 57); see `events.level1`.

Objects are taken as the file lists them, above a threshold in pt: no identification, no removal of overlaps, so an
electron that NanoAOD also lists as a photon or a jet counts in each list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

import awkward as ak
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError
from darkop_dist.events.absence import missing_columns
from darkop_dist.events.level1 import COLLECTIONS, NAMES, Level1Objects, level1_inputs
from darkop_dist.events.level1 import columns_read as level1_columns

Channel = Literal["jets", "leptons_photons", "leptons", "photons", "candidates", "met"]
Floats = npt.NDArray[np.float64]
Settings = TypeVar("Settings", bound=BaseModel)

_COLLECTIONS: dict[str, tuple[str, ...]] = {
    "jets": ("Jet",),
    "leptons_photons": ("Muon", "Electron", "Photon"),
    "leptons": ("Muon", "Electron"),
    "photons": ("Photon",),
    "candidates": ("PFCands",),
}
_EVENTS_PER_BLOCK = 2048


class CylinderGrid(BaseModel):
    """Settings of the representation ``cylinder``.

    Attributes:
        eta_min: lower edge of the eta range.
        eta_max: upper edge of the eta range.
        towers_eta: towers in eta, index 0 at ``eta_min``.
        towers_phi: towers in phi, index 0 at -pi.
        channels: fields, in order: ``jets`` (Jet), ``leptons_photons`` (Muon, Electron, Photon), ``leptons``,
            ``photons``, ``candidates`` (PFCands of PFNano, which all other objects are made of) or ``met``.
        sigma: width of the Gaussian in eta and phi.
        met: collection of the missing transverse momentum, such as ``MET`` or ``PuppiMET``.
        scale: ``log`` is log(1 + pt/pt_unit_gev) of each tower, which brings soft and hard jets to comparable numbers
            and suits learning; ``linear`` is pt/pt_unit_gev; ``fraction`` divides by the sum over all channels and
            towers.
        pt_unit_gev: unit of transverse momentum in GeV.
        pt_min_gev: threshold on the objects of a channel in GeV, inclusive; 0 for channels not named.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    eta_min: float
    eta_max: float
    towers_eta: Annotated[int, Field(gt=0, le=1024)]
    towers_phi: Annotated[int, Field(gt=0, le=1024)]
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    sigma: Annotated[float, Field(gt=0)] = 0.3
    met: str = "MET"
    scale: Literal["log", "linear", "fraction"] = "log"
    pt_unit_gev: Annotated[float, Field(gt=0)] = 1.0
    pt_min_gev: dict[Channel, Annotated[float, Field(ge=0)]] = {"jets": 20.0, "leptons_photons": 10.0}

    @model_validator(mode="after")
    def _range_is_open(self) -> Self:
        if self.eta_min >= self.eta_max:
            raise ValueError("eta_min must be below eta_max")
        return self


class ColumnList(BaseModel):
    """Settings of the representation ``columns``.

    Attributes:
        columns: fields of the events, such as ``mtt`` or ``MET.pt``, in order.
        transforms: what happens to a column: ``identity``, the default, or ``log``, the natural logarithm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    transforms: dict[str, Literal["identity", "log"]] = {}

    @model_validator(mode="after")
    def _transforms_have_columns(self) -> Self:
        unknown = sorted(self.transforms.keys() - set(self.columns))
        if unknown:
            raise ValueError(f"transforms of columns that are not listed: {', '.join(unknown)}")
        return self


def represent(events: ak.Array, representation: str, settings: Mapping[str, object]) -> npt.NDArray[np.float32]:
    """Turn events into a model input.

    Args:
        events: NanoEvents or any array of records with the same fields.
        representation: ``cylinder``, ``columns`` or ``level1``.
        settings: the fields of `CylinderGrid`, `ColumnList` or `Level1Objects`.

    Returns:
        Shape (events, channels, towers_eta, towers_phi), (events, columns) or (events, 57); 20 x 32 towers in three
        channels take 7.7 kB per event, so select before representing.

    Raises:
        UnknownNameError: the representation does not exist.
        InputFileError: a collection or column is absent.
        InputValueError: a setting is wrong, or a value is missing, not finite or a negative pt.
    """
    if representation == "cylinder":
        return fill_cylinder(events, _parse(CylinderGrid, representation, settings))
    if representation == "columns":
        return stack_columns(events, _parse(ColumnList, representation, settings))
    if representation == "level1":
        wanted = _parse(Level1Objects, representation, settings)
        for collection in (*(name for names in COLLECTIONS.values() for name in names), wanted.met):
            _require(events, collection, ("pt", "phi") if collection == wanted.met else NAMES)
        return level1_inputs(events, wanted)
    known = ("cylinder", "columns", "level1")
    raise UnknownNameError("representation", representation, known, f"Use one of {', '.join(known)}.")


def columns_read(representation: str, settings: Mapping[str, object]) -> tuple[str, ...]:
    """Names of all columns that a representation reads, such as ``Jet.pt``.

    Args:
        representation: ``cylinder``, ``columns`` or ``level1``.
        settings: as for ``represent``.

    Raises:
        InputValueError: a setting is wrong.
    """
    if representation == "columns":
        return _parse(ColumnList, representation, settings).columns
    if representation == "level1":
        return level1_columns(_parse(Level1Objects, representation, settings))
    grid = _parse(CylinderGrid, representation, settings)
    names = [
        f"{collection}.{field}"
        for channel in grid.channels
        for collection in _COLLECTIONS.get(channel, ())
        for field in ("pt", "eta", "phi")
    ]
    names += [f"{grid.met}.{field}" for field in ("pt", "phi") if "met" in grid.channels]
    return tuple(dict.fromkeys(names))


def fill_cylinder(events: ak.Array, grid: CylinderGrid) -> npt.NDArray[np.float32]:
    """Fields of transverse momentum on the eta-phi cylinder (see the module and `CylinderGrid`).

    Args:
        events: with the collections of the channels, each with pt in GeV, eta and phi; ``met`` needs pt and phi.
        grid: towers, channels and scale.

    Returns:
        Shape (events, channels, towers_eta, towers_phi); an event's field does not depend on the events beside it.

    Raises:
        InputFileError: a collection or its field is absent.
        InputValueError: a pt, eta or phi is missing or not finite, or a pt is negative.
    """
    fields = np.zeros((len(events), len(grid.channels), grid.towers_eta, grid.towers_phi), dtype=np.float32)
    for index, channel in enumerate(grid.channels):
        threshold = grid.pt_min_gev.get(channel, 0.0)
        if channel == "met":
            fields[:, index] = _met_strip(events, grid, threshold)[:, None, :]
            continue
        objects = [_objects(events, collection) for collection in _COLLECTIONS[channel]]
        pt, eta, phi, event = (np.concatenate(parts) for parts in zip(*objects, strict=True))
        kept = (pt >= threshold) & (eta >= grid.eta_min) & (eta <= grid.eta_max)
        _deposit(fields[:, index], pt[kept], eta[kept], phi[kept], event[kept], grid=grid)
    if grid.scale == "fraction":
        total = fields.sum(axis=(1, 2, 3), dtype=np.float64)
        return np.asarray(fields / np.where(total > 0.0, total, 1.0)[:, None, None, None], dtype=np.float32)
    fields /= np.float32(grid.pt_unit_gev)
    return np.log1p(fields, out=fields) if grid.scale == "log" else fields


def stack_columns(events: ak.Array, wanted: ColumnList) -> npt.NDArray[np.float32]:
    """Flat features, shape (events, columns).

    Raises:
        InputFileError: a column is absent.
        InputValueError: a value is missing, not finite, or not positive under a logarithm.
    """
    absent = [name for name in wanted.columns if not _has(events, name)]
    if absent:
        raise InputFileError(_source(events), f"lacks the columns {', '.join(absent)}", "Use files that hold them")
    features = np.empty((len(events), len(wanted.columns)), dtype=np.float32)
    for index, name in enumerate(wanted.columns):
        values = _numbers(_field(events, name), f"column {name}")
        if wanted.transforms.get(name, "identity") == "log":
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log(values)
        with np.errstate(over="ignore"):
            features[:, index] = values
        bad = int(np.count_nonzero(~np.isfinite(features[:, index])))
        if bad:
            transform = " after its logarithm" if wanted.transforms.get(name) == "log" else ""
            raise InputValueError(
                f"column {name}",
                f"{bad} of {len(events)} values are not finite{transform}",
                "Select events without them",
            )
    return features


def _deposit(
    field: npt.NDArray[np.float32],
    pt: Floats,
    eta: Floats,
    phi: Floats,
    event: npt.NDArray[np.int64],
    *,
    grid: CylinderGrid,
) -> None:
    """Add Gaussians to a channel, in place: object after object of each event, all events at once."""
    order = np.argsort(event, kind="stable")
    pt, eta, phi, event = pt[order], eta[order], phi[order], event[order]
    rank = np.arange(len(event)) - np.searchsorted(event, event, side="left")
    width = (grid.eta_max - grid.eta_min) / grid.towers_eta
    centres = grid.eta_min + width * (np.arange(grid.towers_eta) + 0.5)
    for start in range(0, len(field), _EVENTS_PER_BLOCK):
        stop = min(start + _EVENTS_PER_BLOCK, len(field))
        block = slice(*np.searchsorted(event, [start, stop]))
        in_eta = pt[block, None] * _normalised((centres - eta[block, None]) / grid.sigma)
        in_phi = _phi_profile(phi[block], grid)
        total = np.zeros((stop - start, grid.towers_eta, grid.towers_phi))
        rows, ranks = event[block] - start, rank[block]
        for step in range(int(ranks.max(initial=-1)) + 1):
            now = ranks == step
            total[rows[now]] += in_eta[now][:, :, None] * in_phi[now][:, None, :]
        field[start:stop] = total


def _met_strip(events: ak.Array, grid: CylinderGrid, threshold: float) -> npt.NDArray[np.float32]:
    """Missing transverse momentum per tower, shape (events, towers_phi), the same at every eta."""
    _require(events, grid.met, ("pt", "phi"))
    pt = _numbers(events[grid.met]["pt"], f"{grid.met}.pt", momentum=True)
    phi = _numbers(events[grid.met]["phi"], f"{grid.met}.phi")
    kept = np.where(pt >= threshold, pt, 0.0)
    return np.asarray(kept[:, None] * _phi_profile(phi, grid) / grid.towers_eta, dtype=np.float32)


def _phi_profile(phi: Floats, grid: CylinderGrid) -> Floats:
    width = 2.0 * np.pi / grid.towers_phi
    # whole towers apart: the wrapped distances, and so the sums, are the same numbers in another order
    away = (np.arange(grid.towers_phi) + 0.5) - (phi[:, None] + np.pi) / width
    away -= grid.towers_phi * np.round(away / grid.towers_phi)
    return _normalised(away * width / grid.sigma)


def _normalised(deviations: Floats) -> Floats:
    """Gaussian weights that sum to 1 over the towers; relative to the nearest tower, so that none underflows to 0/0."""
    squares = deviations * deviations
    weights = np.exp(-0.5 * (squares - squares.min(axis=1, keepdims=True)))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _objects(events: ak.Array, collection: str) -> tuple[Floats, Floats, Floats, npt.NDArray[np.int64]]:
    """pt, eta, phi and event number of every object of a collection."""
    _require(events, collection, ("pt", "eta", "phi"))
    objects = events[collection]
    event = np.repeat(np.arange(len(events)), ak.to_numpy(ak.num(objects["pt"], axis=1)))
    pt = _numbers(ak.flatten(objects["pt"], axis=1), f"{collection}.pt", momentum=True)
    eta, phi = (_numbers(ak.flatten(objects[name], axis=1), f"{collection}.{name}") for name in ("eta", "phi"))
    return pt, eta, phi, event


def _numbers(values: Any, name: str, *, momentum: bool = False) -> Floats:
    numbers = np.ma.filled(np.ma.asarray(ak.to_numpy(values), dtype=np.float64), np.nan)
    bad = ~np.isfinite(numbers) | (momentum & (numbers < 0.0))
    if bad.any():
        what = "missing, not finite or negative" if momentum else "missing or not finite"
        raise InputValueError(
            name, f"{np.count_nonzero(bad)} of {bad.size} values are {what}", "Select events without them"
        )
    return np.asarray(numbers, dtype=np.float64)


def _require(events: ak.Array, collection: str, names: tuple[str, ...]) -> None:
    absent = [f"{collection}.{name}" for name in names if not _has(events, f"{collection}.{name}")]
    if absent:
        advice = f"Use files with the collection {collection}, or an operator that does without it"
        if collection not in ak.fields(events):
            why = missing_columns(events, absent, advice)
            raise InputFileError(why.file, f"lacks {', '.join(absent)}: it {why.problem}", advice)
        raise InputFileError(_source(events), f"lacks {', '.join(absent)}", advice)


def _has(events: ak.Array, name: str) -> bool:
    first, _, rest = name.partition(".")
    return first in ak.fields(events) and (not rest or rest in ak.fields(events[first]))


def _field(events: ak.Array, name: str) -> Any:
    first, _, rest = name.partition(".")
    return events[first][rest] if rest else events[first]


def _source(events: ak.Array) -> str:
    metadata = getattr(events, "metadata", None)
    return str(metadata.get("filename", "events")) if isinstance(metadata, Mapping) else "events"


def _parse(model: type[Settings], name: str, settings: Mapping[str, object]) -> Settings:
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "settings"
        raise InputValueError(
            f"representation {name}, {place}", str(first["msg"]), "Correct the settings of the input"
        ) from error
