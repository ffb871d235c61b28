"""What a person sees: plots, event displays and the result page.

Words:
    page: a directory with ``index.html`` and ``img/``, complete in itself, loading nothing from elsewhere.
    sample: datasets that are drawn as one process: data (points), background (stack) or signal (line).
    stacked bins: yields of one region, before or after a fit.
    display: the objects of one event in the transverse plane and in eta and phi.

Input: a `PageInput` of plain values; whatever does not exist stays empty and its section says so.
Output: matplotlib figures that pyplot does not know, and the page's directory.
"""

from darkop_dist.report.calibration import calibration_figure
from darkop_dist.report.content import (
    CalibrationCheck,
    Candidate,
    Cutflow,
    CutStep,
    FitSummary,
    LedgerRow,
    ObservablePlot,
    PageInput,
    PassOverEvents,
    PlotContext,
    Provenance,
    Pull,
    SamplePlot,
    SignalLimit,
    StackedBins,
)
from darkop_dist.report.display import visualize_event
from darkop_dist.report.headline import limit_sentence
from darkop_dist.report.limit_figures import limit_summary_figure, pulls_figure, scan_figure
from darkop_dist.report.page import write_page
from darkop_dist.report.poisson import garwood_errors
from darkop_dist.report.scores import score_figure
from darkop_dist.report.stack import stack_figure
from darkop_dist.report.style import save_figure
from darkop_dist.report.timeline import timeline_figure

__all__ = [
    "CalibrationCheck",
    "Candidate",
    "CutStep",
    "Cutflow",
    "FitSummary",
    "LedgerRow",
    "ObservablePlot",
    "PageInput",
    "PassOverEvents",
    "PlotContext",
    "Provenance",
    "Pull",
    "SamplePlot",
    "SignalLimit",
    "StackedBins",
    "calibration_figure",
    "garwood_errors",
    "limit_sentence",
    "limit_summary_figure",
    "pulls_figure",
    "save_figure",
    "scan_figure",
    "score_figure",
    "stack_figure",
    "timeline_figure",
    "visualize_event",
    "write_page",
]
