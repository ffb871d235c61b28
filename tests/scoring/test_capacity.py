"""Curves whose law is known, and plans that can be worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from darkop_dist.errors import StatisticsError
from darkop_dist.scoring.capacity import Curve, Point, Scaling, fit_scaling, plan_replicas

CLIENTS = (1, 2, 4, 8, 16, 32, 64)


def point(clients: int, events_per_s: float, **changes: Any) -> Point:
    latency = clients * 100 / events_per_s
    known: dict[str, Any] = {"clients": clients, "requests": 100, "seconds": 5.0, "events_per_s": events_per_s}
    return Point(**known | {"p50_s": latency, "p99_s": 2 * latency} | changes)


def curve(law: Scaling, clients: tuple[int, ...] = CLIENTS, **changes: Any) -> Curve:
    points = tuple(point(number, law.events_per_s(number)) for number in clients)
    known = {"model": "m", "fingerprint": "f" * 64, "at": "http://pool", "events": 100, "points": points, "replicas": 1}
    return Curve(**known | changes)


@pytest.mark.parametrize(("serial", "company"), [(0.5, 1e-3), (0.05, 1e-4), (0.9, 1e-5)])
def test_the_law_is_found_in_its_own_points(serial: float, company: float) -> None:
    found = fit_scaling(curve(Scaling(1000.0, serial, company, 0.0)))
    assert found.single == pytest.approx(1000, rel=1e-3)
    assert found.serial == pytest.approx(serial, rel=1e-2)
    assert found.company == pytest.approx(company, rel=0.05)
    assert found.worst < 1e-3


def test_replicas_share_the_clients() -> None:
    """Two replicas with twice the clients give twice as much: the law is that of one."""
    law = Scaling(1000.0, 0.5, 1e-3, 0.0)
    points = tuple(point(2 * number, 2 * law.events_per_s(number)) for number in CLIENTS)
    one = {"model": "m", "fingerprint": "f" * 64, "at": "http://pool", "events": 100}
    found = fit_scaling(Curve.model_validate({**one, "replicas": 2, "points": points}))
    assert found.events_per_s(8) == pytest.approx(law.events_per_s(8), rel=1e-3)


def test_the_most_and_where_it_is() -> None:
    law = Scaling(1000.0, 0.19, 0.01, 0.0)
    clients, most = law.most(64)
    assert clients == pytest.approx(9.0)  # sqrt((1 - s) / k)
    assert most == pytest.approx(1000 * 9 / (1 + 0.19 * 8 + 0.01 * 72))
    assert law.most(4) == (4, pytest.approx(law.events_per_s(4))), "beyond what was measured nothing is promised"
    assert Scaling(1000.0, 0.0, 0.0, 0.0).most(16) == (16, pytest.approx(16_000))


def test_the_time_to_an_answer_follows_from_little() -> None:
    law = Scaling(1000.0, 0.19, 0.01, 0.0)
    assert law.answer_s(500.0, 100, 64) == 0.1, "one client is enough for so little"
    assert law.answer_s(law.most(64)[1] * (1 + 1e-12), 100, 64) == pytest.approx(9 * 100 / law.most(64)[1])
    rate = law.events_per_s(4.0)
    assert law.answer_s(rate, 100, 64) == pytest.approx(4 * 100 / rate)


def test_a_plan() -> None:
    law = Scaling(1000.0, 0.19, 0.01, 0.0)
    _, most = law.most(64)
    found = plan_replicas(curve(law), workers=100, worker_rate=50.0, use=0.7)
    assert found.replicas == math.ceil(5000 / (0.7 * most))
    assert found.used == pytest.approx(5000 / (found.replicas * most), rel=1e-3)
    assert found.used <= 0.7
    assert found.chunk_s == 2.0
    assert found.is_hidden
    assert found.slower == found.answer_s / 2.0
    waited = 100 / most * found.used / (2 * (1 - found.used))
    assert found.answer_s == pytest.approx(law.answer_s(5000 / found.replicas, 100, 64) + waited, rel=1e-3)
    assert plan_replicas(curve(law), workers=1, worker_rate=1.0).replicas == 1
    swift = plan_replicas(curve(law), workers=1, worker_rate=5000.0)
    assert not swift.is_hidden
    more = plan_replicas(curve(law), workers=200, worker_rate=50.0, use=0.7)
    assert more.replicas in (2 * found.replicas - 1, 2 * found.replicas)


def test_two_points_say_nothing() -> None:
    with pytest.raises(StatisticsError, match=r"the curve of m has 2 points.*--clients 1,2,4,8,16"):
        fit_scaling(curve(Scaling(1000.0, 0.5, 1e-3, 0.0), clients=(1, 2)))


def test_an_unknown_number_of_replicas_says_nothing() -> None:
    law = Scaling(1000.0, 0.5, 1e-3, 0.0)
    for changes, why in (({"replicas": None}, "nobody could count"), ({"steady": False}, "replicas came or went")):
        with pytest.raises(StatisticsError, match=rf"{why}.*--measure \.\.\. --replicas N"):
            plan_replicas(curve(law, **changes), workers=2, worker_rate=1.0)


@pytest.mark.parametrize("changes", [{"workers": 0}, {"worker_rate": 0.0}, {"worker_rate": math.inf}, {"use": 1.0}])
def test_impossible_questions(changes: dict[str, Any]) -> None:
    known: dict[str, Any] = {"workers": 2, "worker_rate": 1.0}
    with pytest.raises(ValueError, match="must be above zero"):
        plan_replicas(curve(Scaling(1000.0, 0.5, 1e-3, 0.0)), **known | changes)


def test_clients_rise_in_a_curve() -> None:
    with pytest.raises(ValidationError, match="must rise"):
        curve(Scaling(1000.0, 0.5, 1e-3, 0.0), clients=(2, 1, 4))


def test_where_it_saturates_and_why() -> None:
    rates = {1: 1000.0, 2: 1900.0, 4: 2000.0, 8: 1990.0}

    def limit(**changes: Any) -> str:
        points = tuple(point(number, rate, **changes) for number, rate in rates.items())
        return curve(Scaling(1.0, 0.1, 0.1, 0.0), points=points, same_machine=True, cores=2).limit

    assert limit(model_share=0.97).startswith("the model: it computes 97% of the time in one replica")
    assert limit(model_share=0.3, client_cores=0.95).startswith("this client: it uses 0.9 cores itself")
    assert limit(model_share=0.3).startswith("the way to the model: network, proxy, encoding; it computes 30%")
    assert limit().endswith("encoding")
    assert limit(inside_share=0.95).startswith("the model: 95% of the time to an answer is waiting for it")
    assert limit(inside_share=0.95, model_share=0.2).startswith("the way to the model")
    assert limit(machine_share=0.99).endswith("the 2 cores, which pool and client share, are 99% used")
    points = tuple(point(number, rate) for number, rate in rates.items())
    found = curve(Scaling(1.0, 0.1, 0.1, 0.0), points=points)
    assert found.saturation.clients == 2
    rising = curve(Scaling(1000.0, 0.01, 1e-9, 0.0), clients=(1, 2, 4))
    assert rising.limit == "not reached: more clients still get more"
