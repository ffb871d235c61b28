"""ATLAS events in displays, and files that are named directly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import darkop_dist as do
from darkop_dist.events.view import view_of


def test_a_file_named_directly_is_drawn_as_an_event_of_atlas(atlas: Any, tmp_path: Path) -> None:
    path = tmp_path / "mc20_13TeV.DAOD_PHYSLITE.37110904._000001.pool.root.1"
    path.symlink_to(atlas.path)
    for name in (str(path), atlas.path):  # known by its name, or by what it holds
        events = do.load_opendata(name, max_events=3)
        assert len(events) == 3
        view = view_of(events[1])
        assert view.experiment == "ATLAS"
        assert view.event == events.event[1]
        kinds = [item.kind for item in view.objects]
        assert {"jet", "met"} <= set(kinds)
        jets = [item for item in view.objects if item.kind == "jet"]
        assert all(30.0 <= jet.pt_gev < 1000.0 and jet.btag is not None for jet in jets)
    figure = do.visualize_event(events[1], save_path=tmp_path / "event.png")
    assert (tmp_path / "event.png").stat().st_size > 10_000
    texts = [text.get_text() for axes in figure.axes for text in axes.texts] + [
        text.get_text() for text in figure.texts
    ]
    assert any("ATLAS" in text for text in texts)
