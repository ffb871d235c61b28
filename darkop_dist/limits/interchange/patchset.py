"""A grid of signals on common backgrounds as ``BkgOnly.json`` and ``patchset.json``.

The patchset keeps pyhf's schema 1.0.0: labels of the grid's axes, a name and values for each patch, and digests of the
workspace that the patches are for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyhf

from darkop_dist.errors import StatisticsError, UserError
from darkop_dist.limits.backend import quiet_schema
from darkop_dist.limits.interchange.files import Interchange
from darkop_dist.limits.workspace import Workspace

BACKGROUND, PATCHES = "BkgOnly.json", "patchset.json"
UNKNOWN_RECORD = "ins0000000"
"""pyhf's schema asks for a HEPData record; this one stands for none."""

Spec = dict[str, Any]


def patchset(
    workspaces: Mapping[str, Workspace],
    *,
    labels: Sequence[str] = ("signal",),
    points: Mapping[str, Sequence[float | str]] | None = None,
    description: str = "",
    hepdata: str = UNKNOWN_RECORD,
) -> Interchange:
    """Take the signals out of workspaces that share their backgrounds.

    Args:
        workspaces: one per signal, by the signal's name.
        labels: axes of the grid, such as ``["m_zprime"]``.
        points: place of each signal on the axes; its name by default.
        description: what the grid is.
        hepdata: record that the backgrounds are published in.

    Returns:
        ``BkgOnly.json`` and ``patchset.json`` for ``pyhf patchset verify`` and ``pyhf patchset apply --name``.

    Raises:
        StatisticsError: a workspace without a signal, or one whose backgrounds, data or parameters differ: names the
            first difference.
        UserError: names, labels or points that pyhf's schema refuses.
    """
    names = _patch_names(workspaces)
    values = _values(workspaces, labels, points)
    taken = {name: _without_signal(name, workspace) for name, workspace in workspaces.items()}
    first = next(iter(taken))
    for name, background in taken.items():
        _require_same(background, taken[first], (name, first))
    background = taken[first]
    spec = {
        "metadata": {
            "references": {"hepdata": hepdata},
            "description": description or f"signals {', '.join(workspaces)}",
            "digests": {"sha256": pyhf.utils.digest(pyhf.Workspace(background, validate=False))},
            "labels": list(labels),
        },
        "patches": [
            {
                "metadata": {"name": names[name], "values": values[name]},
                "patch": _patch(background, workspace),
            }
            for name, workspace in workspaces.items()
        ],
        "version": "1.0.0",
    }
    _require_patchset(spec)
    notes = [f"the signal {name} is the patch {patch}" for name, patch in names.items() if name != patch]
    if hepdata == UNKNOWN_RECORD:
        notes.append(f"the reference {UNKNOWN_RECORD} stands for none: pyhf's schema asks for a HEPData record")
    content = {BACKGROUND: background, PATCHES: spec}
    files = {name: (json.dumps(body, indent=1, sort_keys=True) + "\n").encode() for name, body in content.items()}
    return Interchange(files, tuple(notes))


def _patch_names(workspaces: Mapping[str, Workspace]) -> dict[str, str]:
    if not workspaces:
        raise UserError("a patchset needs one workspace at least")
    names = {name: re.sub(r"\W", "_", name, flags=re.ASCII) for name in workspaces}
    for name, patch in names.items():
        if list(names.values()).count(patch) > 1:
            raise UserError(f"two signals would have the patch {patch}: names of patches have letters, digits and _; "
                            f"rename {name}")  # fmt: skip
    return names


def _values(
    workspaces: Mapping[str, Workspace],
    labels: Sequence[str],
    points: Mapping[str, Sequence[float | str]] | None,
) -> dict[str, list[float | str]]:
    wrong = [label for label in labels if not re.fullmatch(r"[A-Za-z0-9_]+", label)]
    if wrong or not labels:
        raise UserError(f"the label {wrong[0] if wrong else ''!r} is not made of letters, digits and _; rename it")
    values: dict[str, list[float | str]] = {name: list((points or {}).get(name, (name,))) for name in workspaces}
    strangers = sorted(set(points or {}) - set(workspaces))
    if strangers:
        raise UserError(f"{strangers[0]} has a point but no workspace; the signals are {', '.join(workspaces)}")
    for name, point in values.items():
        if len(point) != len(labels):
            raise UserError(f"the signal {name} has {len(point)} values for the labels {', '.join(labels)}")
        if list(values.values()).count(point) > 1:
            raise UserError(f"two signals stand at {point}; give each its own point")
    return values


def _without_signal(name: str, workspace: Workspace) -> Spec:
    """The workspace without samples of signal; what the measurement says of the signal strength goes too."""
    if not workspace.signal_rows:
        raise StatisticsError(
            f"the workspace {name} has no signal: no sample carries its parameter of interest {workspace.poi!r}"
        )
    spec: Spec = json.loads(workspace.text)
    for channel in spec["channels"]:
        rows = workspace.signal_rows
        channel["samples"] = [s for s in channel["samples"] if (channel["name"], s["name"]) not in rows]
        if not channel["samples"]:
            raise StatisticsError(f"the workspace {name} has no background in {channel['name']}: pyhf needs one there")
    used = {m["name"] for channel in spec["channels"] for s in channel["samples"] for m in s["modifiers"]}
    for measurement in spec["measurements"]:
        config = measurement["config"]
        config["parameters"] = [one for one in config["parameters"] if one["name"] in used]
    return spec


def _require_same(background: Spec, reference: Spec, names: tuple[str, str]) -> None:
    if background == reference:
        return
    who = f"the workspaces {names[0]} and {names[1]} have different"
    for part, what in (("channels", "backgrounds"), ("observations", "data")):
        mine, theirs = ({entry["name"]: entry for entry in spec[part]} for spec in (background, reference))
        if list(mine) != list(theirs):
            raise StatisticsError(f"{who} channels: {', '.join(mine)} and {', '.join(theirs)}")
        for channel in mine:
            if mine[channel] != theirs[channel]:
                raise StatisticsError(f"{who} {what} in {channel}{_sample(mine[channel], theirs[channel])}")
    raise StatisticsError(
        f"{who} measurements: names, parameters of interest or settings of the backgrounds' parameters"
    )


def _sample(mine: Spec, theirs: Spec) -> str:
    """The first sample that differs."""
    if "samples" not in mine:
        return ""
    samples, others = ({s["name"]: s for s in channel["samples"]} for channel in (mine, theirs))
    differing = [name for name in {**samples, **others} if samples.get(name) != others.get(name)]
    return f": {differing[0]}" if differing else ": their order"


def _patch(background: Spec, workspace: Workspace) -> list[dict[str, Any]]:
    """Operations that put the signal's samples and parameters to their places."""
    spec, rows = json.loads(workspace.text), workspace.signal_rows
    operations = [
        {"op": "add", "path": f"/channels/{place}/samples/{position}", "value": sample}
        for place, channel in enumerate(spec["channels"])
        for position, sample in enumerate(channel["samples"])
        if (channel["name"], sample["name"]) in rows
    ]
    settings = [
        {"op": "replace", "path": f"/measurements/{place}/config/parameters", "value": one["config"]["parameters"]}
        for place, one in enumerate(spec["measurements"])
        if one["config"]["parameters"] != background["measurements"][place]["config"]["parameters"]
    ]
    return [*operations, *settings]


def _require_patchset(spec: Spec) -> None:
    try:
        with quiet_schema():
            pyhf.PatchSet(spec)
    except (pyhf.exceptions.InvalidSpecification, pyhf.exceptions.InvalidPatchSet) as error:
        raise UserError(f"pyhf refuses the patchset: {str(error).splitlines()[0]}") from error
