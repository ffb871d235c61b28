"""darkop-dist: dark-sector searches on public LHC data, from collision files to a limit that can be trusted.

The public names are loaded when they are first used, so that ``import darkop_dist`` costs nothing:

    import darkop_dist as do

    events = do.load_opendata("zjets-nunu-pythia", max_events=1000)
    detector = do.ConformalDetector(operator="cylinder-fno-v1", background_data=events, alpha=0.01)
    detector.find_anomalies(events)
    do.visualize_event(events[0], save_path="event.png")
    do.run("jobs/zprime.yml")
"""

import importlib

_PLACES = {
    "CalorimeterOperator": "darkop_dist.operators.calorimeter.operator",
    "ConformalDetector": "darkop_dist.scoring.detector",
    "DarkopExecutor": "darkop_dist.execution.runner",
    "MultiModalAnomalyDetector": "darkop_dist.scoring.multimodal",
    "OperatorTrainer": "darkop_dist.operators.trainer",
    "PhysicsOperator": "darkop_dist.operators.physics_operator",
    "compile_for_trigger": "darkop_dist.trigger.build.compile",
    "download_dataset": "darkop_dist.stages.download",
    "estimate_trigger_rates": "darkop_dist.trigger.estimate",
    "from_pretrained": "darkop_dist.operators.pretrained",
    "generate_showers": "darkop_dist.operators.calorimeter.production",
    "get_client": "darkop_dist.execution.sites",
    "list_opendata_datasets": "darkop_dist.stages.datasets",
    "load_opendata": "darkop_dist.stages.opendata",
    "read_showers": "darkop_dist.operators.showers.files",
    "register_model": "darkop_dist.operators.physics_operator",
    "reproduce": "darkop_dist.stages.preservation.quick",
    "run": "darkop_dist.stages.opendata",
    "run_processor": "darkop_dist.execution.processor",
    "skim": "darkop_dist.stages.skim.call",
    "visualize_event": "darkop_dist.report.display",
}

__all__ = [
    "CalorimeterOperator",
    "ConformalDetector",
    "DarkopExecutor",
    "MultiModalAnomalyDetector",
    "OperatorTrainer",
    "PhysicsOperator",
    "compile_for_trigger",
    "download_dataset",
    "estimate_trigger_rates",
    "from_pretrained",
    "generate_showers",
    "get_client",
    "list_opendata_datasets",
    "load_opendata",
    "read_showers",
    "register_model",
    "reproduce",
    "run",
    "run_processor",
    "skim",
    "visualize_event",
]


def __getattr__(name: str) -> object:
    """Load a public name from its room."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
