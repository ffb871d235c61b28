"""Why Pythia fails events: which of the lines it was given describes something that cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

CHANNEL = re.compile(r"^\s*(\d+):(?:oneChannel|addChannel)\s*=?\s*(.+)$", re.IGNORECASE)
NEW_PARTICLE = re.compile(r"^\s*(\d+):(?:new|all|names|antiName)\b", re.IGNORECASE)
COMPLAINT = re.compile(r"^\s*\|\s*(\d+)\s+((?:Abort|Error)\b.*?)\s*\|\s*$", re.MULTILINE)
MOST_COMPLAINTS = 3


def explain(pythia: Any, lines: Sequence[str], statistics: str) -> str:
    """What is known of the reason for failed events.

    Args:
        pythia: that failed them.
        lines: Pythia's settings.
        statistics: what ``Pythia.stat`` prints.

    Returns:
        Sentences: the lines that cannot work, each with its reason, and Pythia's most frequent errors.
    """
    found = list(impossible_lines(pythia, lines))
    complaints = sorted(((int(times), text) for times, text in COMPLAINT.findall(statistics)), reverse=True)
    said = "; ".join(f"{times} x {text}" for times, text in complaints[:MOST_COMPLAINTS])
    advice = (
        "Correct: " + "; ".join(found) + "."
        if found
        else "Check that thresholds leave phase space, and the decays of new particles."
    )
    return f"{advice} Pythia says: {said or 'nothing'}."


def impossible_lines(pythia: Any, lines: Sequence[str]) -> Iterator[str]:
    """Lines of decay channels that cannot happen, with the reason.

    A product that does not exist, an antiparticle of a particle that was declared without one, a charge that is not
    conserved, or products heavier than what decays.

    Args:
        pythia: that has read the lines.
        lines: Pythia's settings.
    """
    declared = {int(match[1]): line for line in lines if (match := NEW_PARTICLE.match(line))}
    for line in lines:
        match = CHANNEL.match(line)
        if match is None:
            continue
        mother = int(match[1])
        ratio, products = _channel(match[2])
        if ratio <= 0 or not products:
            continue
        reason = _impossible(pythia.particleData, mother, products, declared)
        if reason:
            yield f"{line!r} ({reason})"


def _channel(text: str) -> tuple[float, list[int]]:
    """Branching ratio and products: the words are switch, branching ratio, matrix element, products."""
    words = text.split()
    try:
        return float(words[1]), [int(word) for word in words[3:]]
    except (IndexError, ValueError):
        return 0.0, []


def _impossible(data: Any, mother: int, products: Sequence[int], declared: dict[int, str]) -> str:
    for product in products:
        if not data.isParticle(abs(product)):
            return f"there is no particle {abs(product)}"
        if product < 0 and not data.hasAnti(-product):
            place = f" by {declared[-product]!r}" if -product in declared else ""
            return f"the particle {-product} is declared without an antiparticle{place}"
    charge = sum(data.chargeType(product) for product in products)
    if charge != data.chargeType(mother):
        return f"its products have charge {charge}/3, the particle {mother} {data.chargeType(mother)}/3"
    heavy = sum(data.m0(product) for product in products)
    if heavy >= data.m0(mother) and data.mWidth(mother) <= 0:
        return f"its products weigh {heavy:g} GeV, the particle {mother} {data.m0(mother):g} GeV"
    return ""
