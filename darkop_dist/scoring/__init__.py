"""Scoring: one anomaly score per event, wherever the model runs.

Words:
    scorer: turns model inputs into scores; it has a fingerprint, inputs and a score axis (``scoring.contract``).
    batch: arrays by name, the first axis counts the events.
    serve: where a scorer runs; ``local`` is the process that reads the events.
    wire: what travels between a client and a server (``scoring.wire``).
    server, pool, remote: who answers requests, the Ray Serve application that runs it, and the clients.
    detector: a scorer with background events, which gives p-values in memory (``scoring.detector``).

Inputs are batches made by ``events.representations``; outputs are float32 scores. The names here load no torch.
"""

from darkop_dist.scoring.contract import Batch, InputSpec, ScoreAxis, Scorer
from darkop_dist.scoring.resolve import resolve

__all__ = ["Batch", "InputSpec", "ScoreAxis", "Scorer", "resolve"]
