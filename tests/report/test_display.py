from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from darkop_dist.errors import OutputError
from darkop_dist.events.view import DisplayObject, EventView
from darkop_dist.report.display import visualize_event

EVENT = EventView(
    "CMS", 281707, 1021, 1722401887, (DisplayObject("jet", 612.4, 0.43, 3.05, 61.2, 0.7), DisplayObject("met", 578.0, None, -0.1)),
    dataset="met_2016", score=11.2, p_value=3.3e-5,
)  # fmt: skip


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_files_are_written_by_suffix(tmp_path: Path, suffix: str, begins: bytes) -> None:
    path = tmp_path / f"event{suffix}"
    visualize_event(EVENT, save_path=path)
    assert path.read_bytes().startswith(begins)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_the_title_names_the_event() -> None:
    title = visualize_event(EVENT).get_suptitle()
    for part in ("run 281707", "luminosity block 1021", "event 1722401887", "anomaly score 11.2", "met_2016"):
        assert part in title
    assert "no run and event numbers" in visualize_event(replace(EVENT, run=-1)).get_suptitle()


def test_objects_are_labelled_and_listed() -> None:
    figure = visualize_event(EVENT)
    transverse, plane, table = figure.axes
    assert {"j1", "MET"} <= {text.get_text() for text in transverse.texts}
    assert {"j1", "MET"} <= {text.get_text() for text in plane.texts}
    cells = {cell.get_text().get_text() for cell in table.tables[0].get_celld().values()}
    assert {"612.4", "0.43", "3.05", "61.2", "0.700", "p$_{T}$ [GeV]"} <= cells


def test_an_empty_event_is_drawn() -> None:
    figure = visualize_event(replace(EVENT, objects=()))
    assert "No object above the thresholds." in [text.get_text() for text in figure.axes[2].texts]


def test_labels_in_the_transverse_plane_do_not_overlap() -> None:
    close = tuple(DisplayObject("jet", 50.0 + i, 0.5 * i, 0.01 * i) for i in range(6))
    figure = visualize_event(replace(EVENT, objects=close))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text().startswith("j")]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing does not exist\. Make it first"):
        visualize_event(EVENT, save_path=tmp_path / "missing" / "event.png")
    with pytest.raises(OutputError, match=r"\.png, \.svg, \.pdf"):
        visualize_event(EVENT, save_path=tmp_path / "event.gif")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        visualize_event(EVENT, save_path=tmp_path / "taken.png")
    assert [item.name for item in tmp_path.iterdir()] == ["taken.png"]
