"""Memory, time and space of a run against what there is."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from darkop_dist.config import Cluster, Execution
from darkop_dist.execution.sites.lifetime import lifetime_for
from darkop_dist.stages.preflight.needs import Needs, check_memory, check_space, check_time
from darkop_dist.stages.preflight.trial import Cost

COST = Cost(events=64_000, fixed_s=0.5, event_s=2e-5, memory_bytes=300_000_000, event_bytes=2000.0, packed_bytes=50_000)
NEEDS = Needs(chunk_events=250_000, chunks=400, entries=10**8, total_s=2200.0, cost=COST, measured_on="zjets")
JOBS = Execution(where="slurm", workers=10, cluster=Cluster(walltime="02:00:00", memory="4 GB", cores=2))


def test_a_chunk_that_fits() -> None:
    finding = check_memory(NEEDS, JOBS, None)
    assert (finding.status, finding.numbers["limit_bytes"]) == ("ok", 2_000_000_000)
    assert "250000 events needs about 800 MB (2 kB per event, from 64000 events of zjets)" in finding.message
    assert "2 GB for a worker (execution.cluster.memory)" in finding.message


def test_a_chunk_that_does_not_fit_is_told_one_that_does() -> None:
    finding = check_memory(NEEDS, JOBS, 700_000_000)
    assert (finding.status, finding.numbers["need_bytes"]) == ("failed", 800_000_000)
    assert finding.what_to_do == (
        "Give workers more memory, or chunks of at most 94000 events (execution.chunk_events)."
    )
    fits = replace(NEEDS, chunk_events=94_000)
    assert check_memory(fits, JOBS, 700_000_000).status == "ok"


def test_a_chunk_at_which_workers_would_spill_is_a_warning() -> None:
    assert check_memory(NEEDS, JOBS, 1_000_000_000).status == "warning"


def test_a_worker_too_small_for_any_chunk() -> None:
    assert check_memory(NEEDS, JOBS, 300_000_000).what_to_do == "Give workers more memory."


def test_the_run_in_its_walltime() -> None:
    (finding,) = check_time(NEEDS, JOBS)
    assert finding.status == "ok"
    assert (
        "about 4 min for 100000000 events in 400 chunks with 10 workers (0.02 ms per event of zjets)" in finding.message
    )


def test_a_chunk_longer_than_a_worker_lives_or_may_take() -> None:
    slow = replace(NEEDS, cost=replace(COST, event_s=0.04), total_s=4e6)
    lifetime, hanging, run = check_time(slow, JOBS)
    assert "the longest chunk takes about 2.8 h, but a worker retires after 114 min" in lifetime.message
    assert "counts as hanging after 30 min" in hanging.message
    assert (lifetime.status, hanging.status) == ("failed", "failed")
    assert "61.6 jobs after one another" in run.message  # 4e5 s in workers that live 6498 s on average


def test_the_lifetime_is_the_one_that_the_workers_are_told() -> None:
    cluster = Cluster(walltime="02:00:00", retire_before="01:00:00", memory="4 GB", cores=2)
    execution = Execution(where="slurm", workers=10, cluster=cluster, chunk_timeout_s=None)
    told = lifetime_for(cluster)
    assert told is not None
    for over_s, findings in ((0.0, 0), (1.0, 1)):
        cost = replace(COST, fixed_s=told.latest_s + over_s, event_s=0.0)
        found = check_time(replace(NEEDS, cost=cost), execution)
        assert [finding.status for finding in found] == ["failed"] * findings + ["ok"]


def test_results_larger_than_the_disk(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    large = replace(NEEDS, cost=replace(COST, packed_bytes=free // 200))
    (finding,) = check_space(large, tmp_path / "results" / "run")
    assert (finding.status, finding.what_to_do) == ("failed", "Make room, or choose another disk.")
    assert f"{tmp_path} has" in finding.message
    assert check_space(NEEDS, tmp_path / "run")[0].status == "ok"


def test_an_output_that_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ledger.json").touch()
    findings = check_space(NEEDS, tmp_path / "run")
    assert [(f.status, f.what_to_do[:16]) for f in findings[1:]] == [("warning", "Run with --force")]


@pytest.mark.parametrize("memory", ["500 MB", None])
def test_memory_that_the_document_gives_to_workers_here(memory: str | None) -> None:
    here = Execution(where="dask", workers=2, cluster=Cluster(memory=memory))
    finding = check_memory(NEEDS, here, None)
    assert finding.status == ("failed" if memory else "ok")
    assert ("execution.cluster.memory" if memory else "for each of 2 workers") in finding.message
