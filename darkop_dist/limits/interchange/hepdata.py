"""Results of a search as a HEPData submission, written by hepdata-lib and checked by HEPData's own validator."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkop_dist.errors import MissingExtraError, OutputError, StatisticsError, UserError
from darkop_dist.limits.interchange.files import Interchange
from darkop_dist.limits.interchange.tables import (
    Table,
    covariance_table,
    cutflow_table,
    limit_table,
    yield_tables,
)
from darkop_dist.limits.results import SignalResult
from darkop_dist.limits.workspace import Workspace

MOST_BINS = 200
"""A covariance of more bins is left out: HEPData takes tables of 10 MB at most."""
DIGITS = 10
LONGEST_TITLE = 64
LIBRARY_MAKES_ARCHIVE = "submission.tar.gz"


@dataclass(frozen=True)
class Cutflow:
    """How many expected events of a dataset pass each step.

    Attributes:
        region: the region.
        dataset: the dataset.
        steps: names in the order of the selection.
        events: expected events after each step; for data the number of events.
    """

    region: str
    dataset: str
    steps: tuple[str, ...]
    events: tuple[float, ...]


@dataclass(frozen=True)
class Facts:
    """What is known of a search besides its numbers; what is not known is left out of the submission.

    Attributes:
        description: a few sentences.
        sqrt_s_tev: centre-of-mass energy in TeV.
        lumi_ifb: integrated luminosity in 1/fb.
        observable: name of the fitted observable.
        unit: its unit.
        reactions: such as ``P P --> Z' --> TOP TOPBAR``, in HEPData's notation.
        phrases: keywords.
        point_label: what the signals are ordered by, such as a mass; their names by default.
        point_unit: its unit.
        points: its value by signal.
        cutflows: the cutflows.
    """

    description: str = ""
    sqrt_s_tev: float | None = None
    lumi_ifb: float | None = None
    observable: str = "bin"
    unit: str = ""
    reactions: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    point_label: str = ""
    point_unit: str = ""
    points: Mapping[str, float] | None = None
    cutflows: tuple[Cutflow, ...] = ()


def hepdata_submission(
    results: Sequence[SignalResult], workspaces: Mapping[str, Workspace], facts: Facts | None = None
) -> Interchange:
    """Tables of limits, yields before and after the background-only fit, background covariance and cutflows.

    Args:
        results: one per signal; the backgrounds are taken from the first.
        workspaces: the workspace of each signal; they go along as HistFactory likelihoods.
        facts: what is known besides.

    Returns:
        ``submission.yaml``, a file per table, the workspaces, and all of them in ``submission.tar.gz`` for the upload.

    Raises:
        StatisticsError: a result that does not belong to its workspace, or none.
        OutputError: HEPData's validator refuses the submission; its messages are repeated.
        MissingExtraError: hepdata-lib is not installed.
    """
    facts = facts or Facts()
    _require_matching(results, workspaces)
    tables, notes = _tables(results, workspaces, facts)
    with quiet_validator():
        library = _library()
    submission = library.Submission()
    submission.comment = facts.description or "Results of a search with darkop-dist."
    with tempfile.TemporaryDirectory(prefix="darkop-") as folder:
        place = Path(folder) / "submission"
        place.mkdir()
        for result in results:
            file = Path(folder) / f"workspace-{_slug(result.signal)}.json"
            file.write_text(workspaces[result.signal].text, encoding="utf-8")
            what = f"Likelihood of the signal {result.signal} (HistFactory, pyhf's JSON)"
            submission.add_additional_resource(what, str(file), copy_file=True, file_type="HistFactory")
        for table in tables:
            submission.add_table(_written(library, table, facts))
        with contextlib.chdir(folder):  # hepdata-lib puts its archive into the current directory
            submission.create_files(str(place), validate=False)
        _require_valid(place)
        paths = [*sorted(place.iterdir()), Path(folder) / LIBRARY_MAKES_ARCHIVE]
        return Interchange({path.name: path.read_bytes() for path in paths}, notes)


def _require_matching(results: Sequence[SignalResult], workspaces: Mapping[str, Workspace]) -> None:
    if not results:
        raise StatisticsError("a submission needs the result of one signal at least")
    for result in results:
        if result.signal not in workspaces or workspaces[result.signal].sha256 != result.workspace_sha256:
            raise StatisticsError(
                f"the results on {result.signal} were not made from the workspace beside them; set the limits again"
            )


def _tables(
    results: Sequence[SignalResult], workspaces: Mapping[str, Workspace], facts: Facts
) -> tuple[list[Table], tuple[str, ...]]:
    tables, notes = [limit_table(results, facts.point_label, facts.point_unit, facts.points or {})], []
    background = next((result for result in results if result.background_fit is not None), None)
    if background is None or background.background_fit is None:
        notes.append("there is no background-only fit: no yields and no covariance")
    else:
        fitted = background.background_fit
        tables += yield_tables(results, fitted, facts.observable, facts.unit)
        bins = sum(len(region.total) for region in fitted.postfit)
        if bins <= MOST_BINS:
            tables.append(covariance_table(workspaces[background.signal], fitted))
        else:
            notes.append(f"the covariance of {bins} bins is left out: tables may have 10 MB")
    regions = dict.fromkeys(cutflow.region for cutflow in facts.cutflows)
    tables += [
        cutflow_table(region, [(c.dataset, c.steps, c.events) for c in facts.cutflows if c.region == region])
        for region in regions
    ]
    titles = [_title(table.name).lower() for table in tables]
    twice = [table.name for table, title in zip(tables, titles, strict=True) if titles.count(title) > 1]
    if twice:
        raise UserError(f"the tables {' and '.join(twice)} would have one file; rename a region")
    return tables, tuple(notes)


def _written(library: Any, table: Table, facts: Facts) -> Any:
    """A table in hepdata-lib's classes."""
    made = library.Table(_title(table.name))
    made.description, made.location = table.description, table.location
    if facts.sqrt_s_tev is not None:
        made.keywords["cmenergies"] = [1000.0 * facts.sqrt_s_tev]
    for name, values in (
        ("observables", table.observables),
        ("reactions", facts.reactions),
        ("phrases", facts.phrases),
    ):
        if values:
            made.keywords[name] = list(values)
    for column in table.columns:
        variable = library.Variable(
            column.name,
            is_independent=column.is_independent,
            is_binned=column.is_binned,
            units=column.unit,
            values=list(column.values),
            zero_uncertainties_warning=False,
        )
        variable.digits = DIGITS
        for label, errors in column.errors.items():
            uncertainty = library.Uncertainty(label, is_symmetric=not isinstance(errors[0], tuple))
            uncertainty.values = list(errors)
            variable.add_uncertainty(uncertainty)
        if not column.is_independent:
            for name, value, unit in (*column.qualifiers, *_qualifiers(facts)):
                variable.add_qualifier(name, value, unit)
        made.add_variable(variable)
    return made


def _qualifiers(facts: Facts) -> list[tuple[str, float | str, str]]:
    found: list[tuple[str, float | str, str]] = []
    if facts.sqrt_s_tev is not None:
        found.append(("SQRT(S)", 1000.0 * facts.sqrt_s_tev, "GeV"))
    if facts.lumi_ifb is not None:
        found.append(("LUMINOSITY", facts.lumi_ifb, "fb$^{-1}$"))
    found += [("RE", reaction, "") for reaction in facts.reactions]
    return found


def _require_valid(place: Path) -> None:
    with quiet_validator():
        from hepdata_validator.full_submission_validator import FullSubmissionValidator

        validator = FullSubmissionValidator()
        is_valid = validator.validate(directory=str(place))
    if not is_valid:
        messages = [m.message for found in validator.get_messages().values() for m in found]
        problem = "; ".join(dict.fromkeys(messages)).replace(f"{place}/", "")
        raise OutputError(f"HEPData's validator refuses the submission: {problem}")


@contextlib.contextmanager
def quiet_validator() -> Iterator[None]:
    """Suppress what is said of hepdata-validator 0.3.6: an old resolver, files left open; it may go with 0.4."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="unclosed file", category=ResourceWarning)
        warnings.filterwarnings("ignore", message="jsonschema", category=DeprecationWarning)
        yield


def _title(name: str) -> str:
    """A table's name as HEPData takes it; hepdata-lib names the file after it."""
    return re.sub(r"[/\\\s]+", " ", name).strip()[:LONGEST_TITLE]


def _slug(name: str) -> str:
    """A name that can be a file's."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-") or "table"


def _library() -> Any:
    """hepdata-lib without ROOT, which it imports where it finds it: seconds, warnings and signal handlers for nothing.

    Its reader of ROOT files, which is not used here, then stays without ROOT in this process.
    """
    shield = {} if "ROOT" in sys.modules else {"ROOT": None}
    sys.modules.update(shield)  # type: ignore[arg-type]  # None makes an import fail
    try:
        import hepdata_lib
    except ImportError as error:
        raise MissingExtraError("hepdata_lib", "limits") from error
    finally:
        for name in shield:
            del sys.modules[name]
    return hepdata_lib
