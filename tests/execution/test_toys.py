"""Toys on a real Dask cluster: the same limit as here, whatever dies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client, LocalCluster

from darkop_dist.execution.toys import toys_on
from darkop_dist.limits import Workspace, upper_limit
from darkop_dist.limits.toys import ToyTask


def counting(signal: float, background: float, observed: float) -> Workspace:
    mu = {"name": "mu", "type": "normfactor", "data": None}
    samples = [
        {"name": "b", "data": [background], "modifiers": []},
        {"name": "s", "data": [signal], "modifiers": [mu]},
    ]
    spec: dict[str, Any] = {
        "channels": [{"name": "c", "samples": samples}],
        "observations": [{"name": "c", "data": [observed]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    return Workspace("s", spec, "data")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as found,
    ):
        yield found


def test_the_same_limit_as_in_one_process(client: Client) -> None:
    workspace = counting(4.0, 6.0, 6.0)
    here = upper_limit(workspace, signal="s", toys=120, seed=3)
    assert upper_limit(workspace, signal="s", toys=120, seed=3, runner=toys_on(client)) == here


def test_a_batch_that_cannot_be_computed_is_lost_by_name_and_the_others_stand(client: Client) -> None:
    workspace = counting(4.0, 6.0, 6.0)
    good, bad = (ToyTask(mu, (1.0,), 5, 3, (1, batch), negative=False) for mu, batch in ((1.0, 0), (float("nan"), 1)))
    batches = sorted(toys_on(client)(workspace, [good, bad]), key=lambda batch: batch.task.stream)
    assert len(batches[0].q) == 5
    assert batches[0].lost == ""
    assert batches[1].q == ()
    assert "Error" in batches[1].lost
