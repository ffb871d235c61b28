"""ATLAS' links between objects, from arrays as uproot reads them."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from darkop_dist.events.physlite.tree import layout_lists


def links(layout: Any) -> tuple[Any, Any, Any]:
    """Links of a container's objects, one each, as offsets, keys of containers and positions in them.

    A TTree keeps keys and positions apart, an RNTuple together.
    """
    if isinstance(layout, ak.contents.RecordArray):
        (offsets, keys), (_, places) = (layout_lists(content) for content in _parts(layout))
    else:
        offsets, records = layout_lists(layout)
        keys, places = _parts(records)
    return offsets, np.asarray(keys.data), np.asarray(places.data)


def link_lists(layout: Any) -> tuple[Any, Any, Any, Any]:
    """Lists of links: offsets of the objects, offsets of the links, keys of containers and positions in them."""
    offsets, inner = layout_lists(layout)
    inner_offsets, records = layout_lists(inner)
    keys, places = _parts(records)
    return offsets, inner_offsets, np.asarray(keys.data), np.asarray(places.data)


def _parts(records: Any) -> tuple[Any, Any]:
    by_end = {name.rsplit(".", 1)[-1]: records.content(name) for name in records.fields}
    return by_end["m_persKey"], by_end["m_persIndex"]
