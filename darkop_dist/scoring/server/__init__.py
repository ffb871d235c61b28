"""The server of scores, without the machinery that runs it: what becomes of a request once it has arrived.

Words:
    engine: holds the models of a replica, checks requests, batches and scores them (``Engine``).
    front: an HTTP or gRPC application that turns requests into calls of an engine (``server.http``).
    line, batch: requests that wait for a model, and those of them that it scores in one call (``server.batching``).
    shelf: the models in memory (``server.shelf``); accelerator: what they share, and whose turn it is.
    access: who may ask, and how much (``server.access``); listen: where, and what that needs (``server.listen``).
    meter: is told of every request and call, for Prometheus or for Ray (``server.meter``, ``server.metrics``).

The names here load no ray; torch is loaded by the models themselves.
"""

from darkop_dist.scoring.server.engine import Engine, EngineSettings, Scored, ScoreRequest

__all__ = ["Engine", "EngineSettings", "ScoreRequest", "Scored"]
