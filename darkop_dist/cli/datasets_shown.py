"""How datasets look on a terminal: a table of many, a page about one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from darkop_dist.catalogue.files import how_to_list
from darkop_dist.config.datasets import DatasetRecord

WIDE = 130
"""Columns from which on a table has room for format, year and cross section."""
UNKNOWN = "-"
PORTAL = "https://opendata.cern.ch/record/"
_INDENT = 20
_SHORTEST_TITLE = 8


def dataset_table(records: Sequence[DatasetRecord], width: int) -> Table:
    """One line per dataset; what is not certain carries a question mark.

    Args:
        records: the datasets, in the order of the lines.
        width: columns of the terminal: a narrow one gets fewer columns, and titles are cut.
    """
    wide = width >= WIDE
    rows = [_row(record, wide=wide) for record in records]
    columns = ["name", "type", *(("format", "year") if wide else ()), "events", "files", "size"]
    columns += ["xsec (pb)"] if wide else []
    table = Table(box=None, pad_edge=False, header_style="bold")
    left = width
    for place, title in enumerate(columns):
        needed = max(len(title), *(len(row[place]) for row in rows)) if rows else len(title)
        left -= needed + 2
        numbers = title in {"events", "files", "size", "xsec (pb)"}
        table.add_column(title, justify="right" if numbers else "left", no_wrap=True, min_width=needed)
    table.add_column("title", no_wrap=True, overflow="ellipsis", width=max(left, _SHORTEST_TITLE))
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _row(record: DatasetRecord, *, wide: bool) -> tuple[str, ...]:
    events = _marked(record, "events", count(_events(record)))
    numbers = (events, _file_count(record), _marked(record, "bytes", size(record.bytes)))
    xsec = _marked(record, "xsec_pb", UNKNOWN if record.xsec_pb is None else f"{record.xsec_pb:g}")
    first = (record.name, "data" if record.kind == "data" else "MC")
    if wide:
        return (*first, record.format, _years(record), *numbers, xsec, record.title)
    return (*first, *numbers, record.title)


def described(record: DatasetRecord) -> str:
    """What is known of a dataset, in lines for people."""
    lines = [record.name, record.title] if record.title else [record.name]
    lines += [f"  {name:<{_INDENT - 2}}{value}" for name, value in _facts(record)]
    if record.uncertain:
        lines.append("not certain:")
        lines += [f"  {doubt.fact:<{_INDENT - 2}}{doubt.why}" for doubt in record.uncertain]
    if not (record.files or record.file_list):
        lines.append(f"no files are listed. {how_to_list(record)}")
    return "\n".join(lines) + "\n"


def _facts(record: DatasetRecord) -> Iterator[tuple[str, str]]:
    what = "collision data" if record.kind == "data" else "simulation"
    yield "experiment", f"{record.experiment}, {what}" + (f", {_years(record)}" if _years(record) != UNKNOWN else "")
    yield "format", record.format + (f", tree {record.tree}" if record.format != "hdf5" else "")
    if _events(record) is not None:
        yield "events", _marked(record, "events", count(_events(record)))
    if record.generated is not None:
        yield "made on demand", f"process {record.generated.process}, seed {record.generated.seed}"
    if _number_of_files(record) is not None:
        yield "files", _file_count(record)
    if record.bytes is not None:
        yield "size", f"{size(record.bytes)} ({record.bytes:,} bytes)"
    yield from _normalisation(record)
    if record.dsid is not None:
        yield "DSID", str(record.dsid)
    if record.recid is not None:
        yield "portal record", f"{PORTAL}{record.recid}"
    if record.doi is not None:
        yield "DOI", _marked(record, "doi", f"https://doi.org/{record.doi}")
    if record.licence is not None:
        yield "licence", _marked(record, "licence", record.licence)
    if record.provenance:
        yield "from", record.provenance
    if record.files:
        yield "first file", record.uris[0]


def _normalisation(record: DatasetRecord) -> Iterator[tuple[str, str]]:
    if record.lumi_ifb is not None:
        yield "luminosity", _marked(record, "lumi_ifb", f"{record.lumi_ifb:g}/fb")
    if record.xsec_pb is None:
        return
    yield "cross section", _marked(record, "xsec_pb", f"{record.xsec_pb:g} pb")
    if record.filter_efficiency != 1 or record.k_factor != 1:
        product = record.xsec_pb * record.filter_efficiency * record.k_factor
        yield "filter efficiency", f"{record.filter_efficiency:g}"
        yield "k-factor", f"{record.k_factor:g}"
        yield "product", _marked(record, "xsec_pb", f"{product:.6g} pb")


def _events(record: DatasetRecord) -> int | None:
    return record.generated.events if record.generated else record.events


def _years(record: DatasetRecord) -> str:
    if record.years:
        return f"{min(record.years)}-{max(record.years) % 100:02d}"
    return UNKNOWN if record.year is None else str(record.year)


def _number_of_files(record: DatasetRecord) -> int | None:
    return len(record.files) if record.files and record.file_count is None else record.file_count


def _file_count(record: DatasetRecord) -> str:
    """Number of files, in brackets where the catalogue does not know which they are."""
    if record.generated:
        return "made"
    number = _number_of_files(record)
    if number is None:
        return UNKNOWN
    text = _marked(record, "files", f"{number:,}")
    return text if record.files or record.file_list else f"({text})"


def _marked(record: DatasetRecord, fact: str, text: str) -> str:
    return f"{text}?" if record.doubts(fact) and text != UNKNOWN else text


def count(number: int | None) -> str:
    """A number with thousands apart."""
    return UNKNOWN if number is None else f"{number:,}"


def size(number: int | None) -> str:
    """Bytes in the unit that leaves one to three digits before the point; 1 kB is 1000 bytes.

    >>> size(267424016), size(1500), size(None)
    ('267.4 MB', '1.5 kB', '-')
    """
    if number is None:
        return UNKNOWN
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "B" else f"{number} B"
