from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from darkop_dist.errors import UnknownNameError
from darkop_dist.generation.card import Displacement, ResponseCard, Table, card_file, list_cards, load_card
from darkop_dist.generation.published import load_published

MARKS = (
    "[abstract",
    "[figure",
    "[file",
    "[rounded",
    "[ours",
    "[fitted",
    "[read off",
    "[table",
    "[as in",
    "[muon_medium",
)


def sources(section: BaseModel) -> list[str]:
    found = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            found += sources(value)
        elif name.endswith("source"):
            found.append(value)
    return found


@pytest.mark.parametrize("name", ["cms", "atlas"])
def test_every_source_says_where_its_numbers_stand(name: str) -> None:
    found = sources(load_card(name))
    assert len(found) >= 16
    assert [text for text in found if not any(mark in text for mark in MARKS)] == []


def test_the_cards_are_there() -> None:
    assert list_cards() == ["atlas", "cms"]
    assert [load_card(name).name for name in list_cards()] == list_cards()


def test_an_unknown_card_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown response card 'cmss'\. Did you mean cms\?"):
        load_card("cmss")


def test_a_card_without_published_numbers_is_named() -> None:
    card = load_card("cms").model_copy(update={"published": "lhcb"})
    with pytest.raises(UnknownNameError, match=r"unknown published detector 'lhcb'.*atlas, cms"):
        load_published(card)


def damaged(**changes: Any) -> dict[str, Any]:
    return tomllib.loads(card_file("cms").read_text(encoding="utf-8")) | changes


def test_unknown_keys_and_ragged_tables_are_refused() -> None:
    with pytest.raises(ValidationError, match="trackers"):
        ResponseCard.model_validate(damaged(trackers={}))
    muon = damaged()["muon"] | {"efficiency": {"eta": [0.0, 2.4], "pt": [3.0, 5.0, 7.0], "values": [[0.8]]}}
    with pytest.raises(ValidationError, match=r"values are 1 x 1, .* 1 rows in \|eta\| and 2 columns in pt"):
        ResponseCard.model_validate(damaged(muon=muon))


def test_a_table_is_linear_in_log_pt_and_ends_flat() -> None:
    table = Table(eta=(0.0, 1.0, 2.0), pt=(1.0, 100.0), values=((1.0, 3.0), (5.0, 5.0)))
    pt = np.array([0.1, 1.0, 10.0, 100.0, 1e4, 10.0, 10.0])
    eta = np.array([0.0, -0.5, 0.5, 0.5, 0.5, -1.5, 9.0])
    assert table.at(pt, eta) == pytest.approx([1, 1, 2, 3, 3, 5, 5])


def test_tracks_are_lost_with_the_radius() -> None:
    rule = Displacement(source="", radius_mm=(0.0, 100.0), factor=(1.0, 0.5), z_max_mm=500.0)
    found = rule.at(np.array([0.0, 50.0, 100.0, 101.0, 0.0]), np.array([0.0, 0.0, 499.0, 0.0, -501.0]))
    assert found == pytest.approx([1.0, 0.75, 0.5, 0.0, 0.0])


@pytest.mark.parametrize(("pt", "sigma", "error"), [(30.0, 0.175, 0.04), (100.0, 0.10, 0.01), (1000.0, 0.05, 0.005)])
def test_the_jet_resolution_of_cms_is_that_of_the_abstract(pt: float, sigma: float, error: float) -> None:
    """arXiv:1607.03663: 15 to 20% at 30 GeV with pile-up, here without, about 10% at 100 GeV and 5% at 1 TeV."""
    found = load_published(load_card("cms")).jets.small.at(np.array([pt]), np.array([0.3]))
    assert found[0] == pytest.approx(sigma, abs=error)


@pytest.mark.parametrize(("pt", "sigma"), [(20.0, 0.24), (300.0, 0.06)])
def test_the_jet_resolution_of_atlas_is_that_of_the_abstract(pt: float, sigma: float) -> None:
    """arXiv:2007.02645: (24 +- 1.5)% at 20 GeV and (6 +- 0.5)% at 300 GeV."""
    found = load_published(load_card("atlas")).jets.small.at(np.array([pt]), np.array([0.3]))
    assert found[0] == pytest.approx(sigma, abs=0.001)
