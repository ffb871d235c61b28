"""All figures of a page: made one after the other, written as SVG and PNG, and forgotten; folded ones as SVG alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from darkop_dist.report.binned import regions_of, stacked_bins
from darkop_dist.report.calibration import calibration_figure
from darkop_dist.report.content import FitSummary, PageInput, PassOverEvents, StackedBins
from darkop_dist.report.digits import number, plain
from darkop_dist.report.display import display_figure
from darkop_dist.report.drift import drift_figure
from darkop_dist.report.fit_figures import MOST_IMPACTS, correlation_figure, mass_figure, ranking_figure
from darkop_dist.report.limit_figures import limit_summary_figure, most_pulled, pulls_figure, scan_figure
from darkop_dist.report.scores import score_figure
from darkop_dist.report.stack import stack_figure
from darkop_dist.report.style import save_figure, settle_layout
from darkop_dist.report.timeline import DRAWN_IN_TURN, timeline_figure

MOST_IN_VIEW = 12
"""Pictures of observables up to which all of them are in view; of more, only those of the important ones."""


@dataclass(frozen=True)
class Picture:
    """One picture of the page.

    Attributes:
        section: ``observables``, ``n-1``, ``scores``, ``calibration``, ``drift``, ``limits``, ``scans``, ``pulls``,
            ``fit``, ``timeline`` or ``display-<row>``.
        name: file name without suffix.
        caption: what it shows.
        wide: takes the full width of the page.
        folded: the region under which it is folded away, and has no PNG; empty if it is in view.
    """

    section: str
    name: str
    caption: str
    wide: bool = False
    folded: str = ""


@dataclass(frozen=True)
class _Planned:
    picture: Picture
    draw: Callable[[], Figure | None]


def write_pictures(page: PageInput, folder: Path) -> tuple[Picture, ...]:
    """Draw everything that the page's values allow.

    Args:
        page: the page.
        folder: an existing folder for the files; each picture is there as SVG and, if it is in view, as PNG.

    Returns:
        The pictures that could be drawn, in the order of the page.

    Raises:
        OutputError: a file cannot be written.
    """
    written = []
    for position, planned in enumerate(_planned(page)):
        figure = planned.draw()
        if figure is None:
            continue
        picture = replace(planned.picture, name=f"{position:02d}-{planned.picture.name}")
        settle_layout(figure)
        for suffix in (".svg",) if picture.folded else (".svg", ".png"):
            save_figure(figure, folder / f"{picture.name}{suffix}")
        written.append(picture)
    return tuple(written)


def _planned(page: PageInput) -> Iterator[_Planned]:
    yield from _limits(page)
    if page.fit is not None:
        yield from _fit(page, page.fit)
    yield from _observables(page)
    yield from _scores(page)
    yield from _calibrations(page)
    for drift in page.drift:
        caption = (
            f"Mean rank of the scores of each {drift.by}; below the line a {drift.by} scores higher than all together. "
            "Errors and band: one standard deviation if all are exchangeable."
        )
        yield _Planned(
            Picture("drift", f"drift-{drift.by}", caption, wide=True), partial(drift_figure, drift, page.context)
        )
    for row, candidate in enumerate(page.candidates):
        view = candidate.view
        if view is not None:
            caption = f"Candidate {row + 1}: {candidate.dataset}, p = {number(candidate.p_value)}."
            yield _Planned(
                Picture(f"display-{row}", f"display-{row + 1}", caption, wide=True),
                partial(display_figure, view),
            )
    if page.events_pass is not None:
        yield _timeline(page.events_pass)


def _limits(page: PageInput) -> Iterator[_Planned]:
    caption = "Upper limits on the signal strength; 1 is the signal's own cross section."
    yield _Planned(Picture("limits", "limits", caption), partial(limit_summary_figure, page.limits, page.context))
    if page.mass_limits is not None:
        caption = "Upper limits against the mass; between the masses the line is drawn straight."
        yield _Planned(Picture("limits", "mass", caption), partial(mass_figure, page.mass_limits, page.context))
    for limit in page.limits:
        caption = f"CLs against the signal strength of {plain(limit.label or limit.signal)}. {limit.method}".strip()
        yield _Planned(
            Picture("scans", f"scan-{_slug(limit.signal)}", caption),
            partial(scan_figure, limit, page.context),
        )


def _fit(page: PageInput, fit: FitSummary) -> Iterator[_Planned]:
    caption = "Pulls of the constrained nuisance parameters; bands: one and two prior standard deviations."
    if len(fit.pulls) > len(most_pulled(fit.pulls)):
        caption += f" The {len(most_pulled(fit.pulls))} farthest of {len(fit.pulls)} are shown."
    yield _Planned(Picture("pulls", "pulls", caption), partial(pulls_figure, fit.pulls, page.context))
    caption = (
        "Change of the fitted signal strength when a parameter is held one standard deviation from its fitted value "
        "and all others are fitted again (filled; outlined: with the width of its constraint), and pulls of the fit "
        f"with signal. {_largest(len(fit.impacts))}".strip()
    )
    yield _Planned(Picture("pulls", "impacts", caption), partial(ranking_figure, fit.impacts, "mu", page.context))
    caption = "Correlations of at least 0.1 between parameters of the fit with signal."
    yield _Planned(
        Picture("pulls", "correlations", caption),
        partial(correlation_figure, fit.parameters, fit.correlation, page.context),
    )
    after = {bins.region: bins for bins in fit.postfit}
    before = {bins.region: bins for bins in fit.prefit}
    for region in dict.fromkeys([*before, *after]):
        for title, found in (("pre-fit", before.get(region)), ("post-fit", after.get(region))):
            if found is not None:
                yield _Planned(
                    Picture("fit", f"{title}-{_slug(region)}", f"{region}, {title}. {_outside_note(found)}".strip()),
                    partial(stack_figure, found, page.samples, page.context, title=title),
                )


def _observables(page: PageInput) -> Iterator[_Planned]:
    drawn = [(plot, plot.regions or regions_of(plot.histogram)) for plot in page.observables]
    few = sum(len(regions) for _, regions in drawn) <= MOST_IN_VIEW
    for plot, regions in drawn:
        for region in regions:
            bins = stacked_bins(plot, page.samples, region)
            if bins is None:
                continue
            note = "All cuts but the one on this observable are applied. " if plot.kind == "n-1" else ""
            caption = f"{plain(plot.title)}, {region}. {note}{_outside_note(bins)}".strip()
            section = "n-1" if plot.kind == "n-1" else "observables"
            axis = plot.histogram.axes[-1].name
            yield _Planned(
                Picture(
                    section,
                    f"{section}-{_slug(axis)}-{_slug(region)}",
                    caption,
                    folded="" if few or plot.important else region,
                ),
                partial(stack_figure, bins, page.samples, page.context, threshold=plot.threshold, keeps=plot.keeps),
            )


def _calibrations(page: PageInput) -> Iterator[_Planned]:
    shown = {"": page.calibration, **page.categories}
    for name, check in shown.items():
        if check is None:
            continue
        weighted = " (of weights; the intervals are approximate)" if check.effective_size else ""
        caption = (
            f"{name + ': f' if name else 'F'}raction of held-out background events with p at most a, against a, with "
            f"{100 * check.confidence:g}% Clopper-Pearson intervals{weighted}. Calibrated with {number(check.n)} "
            f"events; no p-value is below the floor {number(check.floor)}. The points share their events and are "
            "correlated."
        )
        picture = Picture("calibration", f"calibration-{_slug(name)}" if name else "calibration", caption)
        yield _Planned(picture, partial(calibration_figure, check, page.context))


def _scores(page: PageInput) -> Iterator[_Planned]:
    if page.scores is None:
        return
    for region in regions_of(page.scores):
        caption = f"Anomaly score in {region}, each sample normalised to one."
        yield _Planned(
            Picture("scores", f"score-{_slug(region)}", caption),
            partial(score_figure, page.scores, page.samples, region, page.context),
        )


def _timeline(found: PassOverEvents) -> _Planned:
    caption = f"{found.sentence} {DRAWN_IN_TURN}"
    return _Planned(
        Picture("timeline", "timeline", caption, wide=True),
        partial(timeline_figure, found.timeline),
    )


def _largest(impacts: int) -> str:
    return f"The {MOST_IMPACTS} largest of {impacts} are shown." if impacts > MOST_IMPACTS else ""


def _outside_note(bins: StackedBins) -> str:
    parts = []
    for name, (below, above) in bins.outside.items():
        if below or above:
            parts.append(f"{name} {number(below)} below, {number(above)} above")
    return f"Outside the axis and not drawn: {'; '.join(parts)}." if parts else ""


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "x"
