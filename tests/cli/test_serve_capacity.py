"""``darkop serve --measure`` and ``--plan``: what they print and refuse; a real pool is in tests/scoring/pool."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from darkop_dist.cli.app import _run, app
from darkop_dist.scoring.capacity import Curve, Point, Scaling

LAW = Scaling(1000.0, 0.19, 0.01, 0.0)
Darkop = Callable[..., tuple[int, str, str]]


@pytest.fixture
def darkop(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Darkop:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["darkop", "serve", *arguments])
        status = _run(app)
        found = capsys.readouterr()
        return status, " ".join(found.out.split()), " ".join(found.err.split())

    return run


@pytest.fixture
def curve(tmp_path: Path) -> Path:
    points = tuple(
        Point(clients=number, requests=99, seconds=3.0, events_per_s=LAW.events_per_s(number), p50_s=0.1, p99_s=0.2)
        for number in (1, 2, 4, 8, 16)
    )
    found = Curve(model="m", fingerprint="f" * 64, at="http://pool:8000", events=100, replicas=1, points=points)
    path = tmp_path / "curve.json"
    path.write_text(found.model_dump_json())
    return path


def test_a_plan_in_sentences(darkop: Darkop, curve: Path) -> None:
    status, told, _ = darkop("--plan", str(curve), "--workers", "100", "--worker-rate", "50", "--gpus", "0.25")
    assert status == 0
    assert told.startswith("3 replicas (0.75 GPUs): 100 workers ask for 5,000 events/s, 60% of what they can give")
    assert "a worker selects the next 100 in 2 s" in told
    assert "workers that read the next chunk while they wait (Dask) lose nothing; others take" in told
    assert "from 5 points of m at http://pool:8000, 100 events a request; the law (arXiv:0808.1431) misses them" in told
    assert "shared a machine" not in told
    _, told, _ = darkop("--plan", str(curve), "--workers", "1", "--worker-rate", "50000")
    assert "scores decide how long the run takes, however many replicas there are" in told


def test_a_plan_as_json(darkop: Darkop, curve: Path) -> None:
    status, told, _ = darkop("--plan", str(curve), "--workers", "100", "--worker-rate", "50", "--json")
    found = json.loads(told)
    assert (status, found["replicas"], found["cpus"], found["is_hidden"]) == (0, 3, 3.0, True)
    assert found["law"]["a"] == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--plan", "CURVE"), "--plan wants --workers, how many ask, and --worker-rate"),
        (("--plan", "CURVE", "--workers", "0", "--worker-rate", "nan"), "Both are above zero"),
        (("--plan", "CURVE", "--workers", "2", "--worker-rate", "5", "--use", "1.0"), "below one"),
        (("--plan", "nix.json", "--workers", "2", "--worker-rate", "5"), "nix.json: No such file or directory. Write one"),
        (("--plan", "OTHER", "--workers", "2", "--worker-rate", "5"), "is no measured curve (Field required)"),
        (("--plan", "CURVE", "--measure", "http://127.0.0.1:1"), "are done one at a time. Give one"),
        (("--plan", "CURVE", "cylinder-fno-v1"), "--plan takes no checkpoints. Leave them out"),
        (("--measure", "here"), "--measure: 'here' must be local, auto, ray, ray://HOST:PORT"),
        (("--measure", "local"), "--measure: 'local' is no pool. Give http://HOST:PORT"),
        (("--measure", "http://127.0.0.1:1"), "Connection refused. Is the pool running?"),
        (("--measure", "http://127.0.0.1:1", "--replicas", "0..4"), "a pool is measured with a fixed number"),
        (("--measure", "http://127.0.0.1:1", "--clients", "a,2"), "--clients: 'a,2' are no whole numbers"),
        (("--measure", "http://127.0.0.1:1", "--clients", "1,2000"), "must be between 1 and 256"),
        (("--measure", "http://127.0.0.1:1", "--seconds", "0"), "--seconds: 0 must be above zero and at most 600"),
        (("--measure", "http://127.0.0.1:1", "--curve", "nowhere/c.json"), "nowhere: there is no such directory"),
    ],
)  # fmt: skip
def test_what_is_refused(
    darkop: Darkop,
    curve: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    places = {"CURVE": str(curve), "OTHER": "other.json"}
    status, _, told = darkop(*(places.get(one, one) for one in arguments))
    assert status == 2
    assert message in told
