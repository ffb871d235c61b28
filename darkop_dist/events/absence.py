"""What to say of columns that a file does not have: which object is missing, in which file, of which experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak

from darkop_dist.errors import InputFileError
from darkop_dist.events.physlite.mapping import EVENTS, load_mapping

LAYOUTS = {"nanoaod": "NanoAOD", "pfnano": "PFNano", "physlite": "PHYSLITE"}


def missing_columns(events: ak.Array, names: Sequence[str], what_to_do: str = "") -> InputFileError:
    """The error to raise.

    Args:
        events: the events that lack the columns.
        names: the columns, such as ``mtt`` or ``FatJet.pt``.
        what_to_do: how to go on; by default to use other files or another processor.
    """
    metadata = getattr(events, "metadata", None)
    facts: Mapping[str, Any] = metadata if isinstance(metadata, Mapping) else {}
    file, fields = str(facts.get("filename", "events")), ak.fields(events)
    absent = list(dict.fromkeys(c for c, dot, _ in (name.partition(".") for name in names) if dot and c not in fields))
    advice = what_to_do or "Use files that hold them, or a processor that does without them."
    if facts.get("format") == "physlite":
        told = dict.fromkeys(c if c in absent else name for name in names for c in (name.partition(".")[0],))
        reasons = "; ".join(f"{name}: {_why(name)}" for name in told)
        return InputFileError(file, f"has no {', '.join(told)} (ATLAS PHYSLITE; {reasons})", advice)
    branches = ", ".join(name.replace(".", "_") for name in names)
    problem = f"has no {'branch' if len(names) == 1 else 'branches'} {branches}"
    layout = LAYOUTS.get(str(facts.get("format")))
    if absent and layout is not None:
        problem += f" (no {', '.join(absent)} in this {layout} of {facts.get('experiment', 'CMS')})"
    return InputFileError(file, problem, advice)


def _why(name: str) -> str:
    """Why PHYSLITE has nothing for a collection or a column."""
    mapping = load_mapping()
    if name in mapping.absent:
        return mapping.absent[name]
    collection, _, field = name.rpartition(".")
    known = mapping.collections.get(name) or mapping.collections.get(collection or EVENTS)
    if known is None or (field and name not in mapping.collections and field not in known.columns):
        return "nothing of PHYSLITE is mapped to it; the dataset's record can do that with columns"
    containers = ", ".join(known.container)
    if name in mapping.collections:
        return f"the file keeps no {containers}"
    rule = known.columns[field]
    return f"the file keeps no {rule.variable or rule.tagger or 'variable for it'} of {containers}"
