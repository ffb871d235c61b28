"""The result in sentences."""

from __future__ import annotations

from darkop_dist.report.content import PageInput, SignalLimit
from darkop_dist.report.digits import number, plain


def limit_sentence(limit: SignalLimit) -> str:
    """One limit in words: observed, expected with its one-sigma range, cross section, significance and method."""
    name = plain(limit.label or limit.signal)
    level = f"{100 * limit.confidence_level:g}%"
    parts = []
    if limit.observed is not None:
        parts.append(
            f"the observed {level} CL upper limit on the signal strength is {_strength(limit.observed, limit)}"
        )
    elif limit.expected is not None:
        parts.append(f"there is no observed limit at {level} CL")
    if limit.expected is not None:
        _, low, median, high, _ = limit.expected
        parts.append(
            f"the expected {level} CL upper limit is {_strength(median, limit)} "
            f"(68% of background-only experiments: {number(low)} to {number(high)})"
        )
    if not parts:
        return f"{name}: no limit was computed."
    if limit.p0 is not None:
        significance = "" if limit.z is None else f" ({number(limit.z, 2)} standard deviations)"
        parts.append(f"the background-only hypothesis has p₀ = {number(limit.p0)}{significance}")
    method = f" Method: {limit.method}." if limit.method else ""
    return f"{name}: {'; '.join(parts)}.{method}"


def _strength(value: float, limit: SignalLimit) -> str:
    cross_section = "" if limit.xsec_pb is None else f", a cross section of {number(value * limit.xsec_pb)} pb"
    return f"μ < {number(value)}{cross_section}"


def headline_of(page: PageInput) -> tuple[str, ...]:
    """The given headline, else one sentence per limit, else that there is none."""
    if page.headline:
        return page.headline
    if page.limits:
        return tuple(limit_sentence(limit) for limit in page.limits)
    return ("No limit was computed in this run.",)
