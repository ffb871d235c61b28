from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.generation.normalisation import PartNormalisation, combine

PARTS = st.lists(
    st.builds(
        PartNormalisation,
        events=st.integers(1, 1000),
        sum_weights=st.floats(0.1, 1e6),
        sum_weights2=st.floats(0.1, 1e6),
        tried=st.integers(1, 10**6),
        xsec_pb=st.floats(1e-6, 1e6),
        xsec_error_pb=st.floats(1e-8, 1e5),
    ),
    min_size=1,
    max_size=8,
)


@given(PARTS)
def test_the_cross_section_lies_between_those_of_the_parts(parts: list[PartNormalisation]) -> None:
    found = combine(parts)
    low, high = min(part.xsec_pb for part in parts), max(part.xsec_pb for part in parts)
    assert low * (1 - 1e-9) <= found.xsec_pb <= high * (1 + 1e-9)
    assert found.events == sum(part.events for part in parts)
    assert found == combine(parts[::-1]) or found.xsec_pb == pytest.approx(combine(parts[::-1]).xsec_pb)


@given(PARTS, st.integers(1, 5))
def test_equal_parts_shrink_the_uncertainty_with_the_square_root(parts: list[PartNormalisation], copies: int) -> None:
    one, many = combine(parts), combine(parts * copies)
    assert many.xsec_pb == pytest.approx(one.xsec_pb)
    assert many.xsec_error_pb == pytest.approx(one.xsec_error_pb / copies**0.5)
