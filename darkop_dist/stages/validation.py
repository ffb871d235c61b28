"""The page that sets a response card beside what its collaboration has published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel

from darkop_dist.errors import InputValueError
from darkop_dist.generation.card import card_file, load_card
from darkop_dist.generation.comparison import QUANTITIES, Comparison
from darkop_dist.generation.validation import validate
from darkop_dist.report.compared import ComparedQuantity
from darkop_dist.report.directory import require_free
from darkop_dist.report.validation_page import ValidationPage, write_validation
from darkop_dist.runs import version

AGREEMENT = (
    "A point agrees if ours and the published number differ by no more than the tolerance and two standard deviations "
    "of ours. There is no pile-up where it is not said."
)


def write_validation_page(
    card_name: str, output_dir: Path, *, events: int = 4000, seed: int = 1, workers: int = 1, force: bool = False
) -> tuple[Path, tuple[Comparison, ...]]:
    """Measure what a response card gives, and write it beside what is published.

    Args:
        card_name: name of the response card.
        output_dir: the directory to make.
        events: number of QCD dijet events, and of events with a Z boson.
        seed: seed, 0 or above.
        workers: number of processes.
        force: replace an existing directory.

    Returns:
        ``index.html`` in the directory, and what it shows.

    Raises:
        UnknownNameError: there is no such card, or nothing is published about it.
        InputValueError: the number of events or the seed is out of range.
        OutputError: the directory exists and ``force`` is not given, or it cannot be written.
    """
    for name, value, least in (("events", events, 1), ("seed", seed, 0), ("workers", workers, 1)):
        if value < least:
            raise InputValueError(name, f"{value} is below {least}", f"Use {least} or more.")
    card = load_card(card_name)
    require_free(output_dir, force=force)
    found = validate(card_name, events=events, seed=seed, workers=workers)
    page = ValidationPage(
        title=f"Response of {card.title}",
        subtitle="Simulated particles through the response card, beside what the collaboration has published",
        quantities=_quantities(found),
        notes=(
            f"Left out of this card: {card.approximations}",
            AGREEMENT,
        ),
        facts={
            "Response card": f"{card.name}, SHA-256 {hashlib.sha256(card_file(card_name).read_bytes()).hexdigest()}",
            "Events": f"{events} QCD dijets, {events} Z bosons and {events // 2} with pile-up, seed {seed}",
            "Versions": f"darkop-dist {version()}, Pythia {metadata.version('pythia8mc')}, "
            f"fastjet {metadata.version('fastjet')}",
        },
        sources=dict(_sources(card)),
    )
    return write_validation(page, output_dir, force=force), found


def _quantities(found: tuple[Comparison, ...]) -> tuple[ComparedQuantity, ...]:
    by_name = {name: tuple(one for one in found if one.quantity == name) for name in QUANTITIES}
    return tuple(ComparedQuantity(name, QUANTITIES[name], curves) for name, curves in by_name.items() if curves)


def _sources(section: BaseModel, path: str = "") -> Iterator[tuple[str, str]]:
    """Every source in a card, by the place where it stands."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _sources(value, f"{path}{name}.")
        elif name.endswith("source"):
            yield f"{path}{name}".removesuffix(".source"), str(value)
