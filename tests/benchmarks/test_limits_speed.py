"""One CLs of the published likelihood of ATLAS SUSY-2018-31 (64 parameters), beside pyhf's default of NumPy and SciPy.

Both start from the workspace as parsed JSON in the same process, call by call in turn; the model's preparation is timed
apart. Both CLs have to be the published ones. The target is a fifth of pyhf's time.

Run with: pytest tests/benchmarks/test_limits_speed.py --benchmark-only -s
"""

from __future__ import annotations

import json
import sys
import tarfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import jsonpatch
import pyhf
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from darkop_dist.limits import Workspace, cls_values
from darkop_dist.limits.backend import numpy_backend
from darkop_dist.limits.likelihood import likelihood_of
from darkop_dist.limits.workspace import INTERPOLATION

PUBLISHED = 0.24443628  # pyhf 0.7.6 with code 4 and 4p, see the README beside the data
ROUNDS = 7


@pytest.fixture(scope="module")
def spec(shared_data: Path) -> dict[str, Any]:
    archive = shared_data / "likelihoods" / "pyhf-ins1748602-probability-models.tar.gz"
    with tarfile.open(archive) as files:
        background = json.load(files.extractfile("RegionA/BkgOnly.json"))
        patch = json.load(files.extractfile("RegionA/patch.sbottom_1300_205_60.json"))
    return jsonpatch.apply_patch(background, patch)


def test_one_cls(spec: dict[str, Any], benchmark: BenchmarkFixture) -> None:
    workspace = Workspace("sbottom_1300_205_60", spec, "data")
    with numpy_backend():
        start = time.perf_counter()
        read = pyhf.Workspace(spec)
        model = read.model(modifier_settings=INTERPOLATION)
        data, preparing = read.data(model), time.perf_counter() - start

        def theirs() -> float:
            return float(pyhf.infer.hypotest(1.0, data, model, test_stat="qtilde"))

        anchor = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            assert theirs() == pytest.approx(PUBLISHED, abs=2e-5)
            anchor.append(time.perf_counter() - start)
            start = time.perf_counter()
            cls_values(workspace, 1.0)
            benchmark.extra_info.setdefault("ours", []).append(time.perf_counter() - start)
    assert benchmark(cls_values, workspace, 1.0).observed == pytest.approx(PUBLISHED, abs=2e-5)
    start = time.perf_counter()
    likelihood_of(workspace)
    building = time.perf_counter() - start
    ours, pyhfs = median(benchmark.extra_info["ours"]), median(anchor)
    sys.stdout.write(
        f"\none CLs: pyhf {1e3 * pyhfs:.0f} ms after {1e3 * preparing:.0f} ms of preparation; "
        f"ours {1e3 * ours:.1f} ms, of which {1e3 * building:.1f} ms are preparation: a factor of {pyhfs / ours:.0f}\n"
    )
