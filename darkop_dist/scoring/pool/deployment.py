"""The Serve application of a pool: one deployment, whose replicas hold the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.schema import LoggingConfig

from darkop_dist.scoring.pool.replica import Replica
from darkop_dist.scoring.pool.settings import PoolSettings

DEPLOYMENT = "scores"
_SPARE = 8
"""Requests that come to a replica without events: descriptions, health, metrics."""


def application(settings: PoolSettings, fingerprints: Mapping[str, str], *, draining: bool = False) -> Any:
    """The application of a pool whose checkpoints are in the store.

    Args:
        settings: of the pool.
        fingerprints: by model name.
        draining: refuse new requests.

    Returns:
        What ``ray.serve.run`` takes.
    """
    replicas, engine = settings.replicas, settings.engine
    at_once = 2 * engine.most_waiting * min(engine.most_models, len(fingerprints)) + _SPARE
    deployment = serve.deployment(
        name=DEPLOYMENT,
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
        autoscaling_config=AutoscalingConfig(
            min_replicas=replicas.least,
            initial_replicas=max(replicas.least, 1),
            max_replicas=replicas.most,
            target_ongoing_requests=replicas.requests,
            upscale_delay_s=replicas.grow_s,
            downscale_delay_s=replicas.shrink_s,
            metrics_interval_s=min(10.0, max(0.5, replicas.grow_s / 2)),
        ),
        # an engine says itself that it is busy, and for how long; Serve's limits are for the memory of its proxies
        max_ongoing_requests=at_once,
        max_queued_requests=4 * at_once,
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1.0),
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=settings.drain_s,
        health_check_period_s=5.0,
        max_constructor_retry_count=2,
        max_surge_percent=100,  # old replicas, if they must go, answer until new ones are ready
        user_config={"models": dict(fingerprints), "draining": draining},
        logging_config=LoggingConfig(enable_access_log=False),
    )(_deployed(engine.most_models))
    # Without a version Serve starts all replicas anew at every run; with the same one it only hands on ``user_config``.
    deployment = deployment.options(version=settings.version(), _internal=True)
    return deployment.bind(settings.model_dump_json())


def _deployed(most_models: int) -> Any:
    """The replica's class as Serve wants it: with an ASGI application, and a method that says which models it holds."""

    class Scores(Replica):
        @serve.multiplexed(max_num_models_per_replica=most_models)  # type: ignore[untyped-decorator]
        async def _hold(self, model: str) -> None:
            """The engine has loaded it; from now on Serve routes requests for the model to this replica."""

        def __serve_build_asgi_app__(self) -> Any:
            return self.build_app()

    return serve.ingress(None)(Scores)
