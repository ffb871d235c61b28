"""The mapping as data: what it says, and the page that is made from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from darkop_dist.events.physlite.layout import RULES
from darkop_dist.events.physlite.mapping import ColumnRule, load_mapping, mapping_table


def test_the_page_is_in_step(repository: Path) -> None:
    """Made anew by: python -c 'from darkop_dist.events.physlite.mapping import *; print(mapping_table(load_mapping()))'."""
    page = (repository / "docs" / "physlite.md").read_text(encoding="utf-8")
    assert page.endswith(mapping_table(load_mapping()))


def test_every_rule_can_be_followed() -> None:
    used = {rule.rule for c in load_mapping().collections.values() for rule in c.columns.values()}
    assert used == set(RULES)
    with pytest.raises(ValidationError, match="Input should be 'value'"):
        ColumnRule.model_validate({"rule": "magic"})


def test_momenta_and_masses_come_out_in_gev() -> None:
    for name, collection in load_mapping().collections.items():
        for field, rule in collection.columns.items():
            if field in ("pt", "mass") and rule.rule == "value":
                assert rule.factor == 1e-3, (name, field)
