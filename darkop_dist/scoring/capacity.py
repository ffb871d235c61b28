"""How much a pool can take: a measured curve, a small model of it, and what that says of more workers.

The model is the universal scalability law (N. J. Gunther, arXiv:0808.1431, equation 4): n clients with one request each
under way get

    X(n) = a n / (1 + s (n - 1) + k n (n - 1))

events per second; a is what one client gets, s the share that cannot be done at once, k the price of more company. How
long an answer to b events takes follows from it (J. D. C. Little, Oper. Res. 9 (1961) 383): R(n) = n b / X(n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.optimize import brentq, least_squares

from darkop_dist.errors import StatisticsError

SATURATED = 0.95
"""The curve is saturated where it has this share of the most events per second that were measured."""
_KEPT = ConfigDict(frozen=True, extra="ignore")
_Above0 = Annotated[float, Field(gt=0)]


class Point(BaseModel):
    """A number of clients, and what they got.

    Attributes:
        clients: each has one request under way at every moment.
        requests: that were answered.
        seconds: from the first of them to the last.
        events_per_s: of all clients together.
        p50_s: median time from asking to the answer, pauses that the pool asked for included.
        p99_s: the same for the slowest hundredth; with fewer than 100 answers, the slowest.
        busy: how often the pool asked to be left alone.
        model_share: part of the time for which a replica's model computed; None where nobody could say.
        inside_share: part of the time to an answer for which the request waited for the model or was computed.
        client_cores: cores that the measuring process itself used.
        machine_share: part of this machine's cores that was used by anybody.
    """

    model_config = _KEPT

    clients: Annotated[int, Field(ge=1)]
    requests: Annotated[int, Field(ge=1)]
    seconds: _Above0
    events_per_s: _Above0
    p50_s: _Above0
    p99_s: _Above0
    busy: int = 0
    model_share: float | None = None
    inside_share: float = 0.0
    client_cores: float = 0.0
    machine_share: float = 0.0


class Curve(BaseModel):
    """What was measured of one model of a pool.

    Attributes:
        model: its name.
        fingerprint: of the model.
        at: the pool's address.
        events: in each request.
        replicas: that answered; None where nobody could count them.
        steady: none came or went meanwhile, as far as was seen.
        same_machine: the pool and whoever measured shared their cores.
        cores: of the machine that measured.
        points: by rising number of clients.
    """

    model_config = _KEPT

    schema_name: Literal["darkop.load-curve/1"] = "darkop.load-curve/1"
    model: str
    fingerprint: str
    at: str
    events: Annotated[int, Field(ge=1)]
    replicas: Annotated[int, Field(ge=1)] | None = None
    steady: bool = True
    same_machine: bool = False
    cores: Annotated[int, Field(ge=1)] = 1
    points: Annotated[tuple[Point, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _rising(self) -> Curve:
        if any(first.clients >= second.clients for first, second in pairwise(self.points)):
            raise ValueError("the numbers of clients must rise from point to point")
        return self

    @property
    def saturation(self) -> Point:
        """The fewest clients that get 95% of the most that was measured."""
        most = max(point.events_per_s for point in self.points)
        return next(point for point in self.points if point.events_per_s >= SATURATED * most)

    @property
    def limit(self) -> str:
        """What keeps the pool from giving more, as far as the measurement can tell."""
        most = max(self.points, key=lambda point: point.events_per_s)
        if most is self.points[-1] and len(self.points) > 1 and most.events_per_s > 1.1 * self.points[-2].events_per_s:
            return "not reached: more clients still get more"
        if most.model_share is not None and most.model_share > 0.85:
            told = (
                f"the model: it computes {100 * most.model_share:.0f}% of the time in {_replicas(self.replicas or 1)}"
            )
        elif most.model_share is None and most.inside_share > 0.85:
            told = f"the model: {100 * most.inside_share:.0f}% of the time to an answer is waiting for it and computing"
        elif most.client_cores > 0.85:
            told = f"this client: it uses {most.client_cores:.1f} cores itself. Measure from another machine too"
        else:
            told = "the way to the model: network, proxy, encoding"
            told += "" if most.model_share is None else f"; it computes {100 * most.model_share:.0f}% of the time"
        if self.same_machine and most.machine_share > 0.9:
            told += f"; the {self.cores} cores, which pool and client share, are {100 * most.machine_share:.0f}% used"
        return told


def _replicas(number: int) -> str:
    return "one replica" if number == 1 else f"each of {number} replicas"


@dataclass(frozen=True)
class Scaling:
    """The law's numbers for one replica.

    Attributes:
        single: a, events per second of one client.
        serial: s, share that cannot be done at once.
        company: k, price of more company.
        worst: largest relative distance between law and measurement.
    """

    single: float
    serial: float
    company: float
    worst: float

    def events_per_s(self, clients: float) -> float:
        """Events per second of so many clients, one or more."""
        return self.single * clients / (1 + self.serial * (clients - 1) + self.company * clients * (clients - 1))

    def most(self, up_to: float) -> tuple[float, float]:
        """Clients, at most ``up_to``, that get most, and what they get."""
        peak = math.sqrt((1 - self.serial) / self.company) if self.company > 0 else math.inf
        clients = min(max(peak, 1.0), max(up_to, 1.0))
        return clients, self.events_per_s(clients)

    def answer_s(self, events_per_s: float, events: int, up_to: float) -> float:
        """Mean time to an answer while a replica gives so many events per second.

        Args:
            events_per_s: not above what `most` says.
            events: in a request.
            up_to: clients to which the law was measured.
        """
        if events_per_s <= self.single:
            return events / self.single
        clients, most = self.most(up_to)
        if events_per_s < most:
            clients = float(brentq(lambda n: self.events_per_s(n) - events_per_s, 1.0, clients))
        return clients * events / events_per_s


def fit_scaling(curve: Curve) -> Scaling:
    """Fit the law to a curve; relative distances count, every point alike.

    Raises:
        StatisticsError: fewer than three numbers of clients were measured, or nobody knows with how many replicas.
    """
    if curve.replicas is None or not curve.steady:
        why = "nobody could count the replicas" if curve.replicas is None else "replicas came or went meanwhile"
        raise StatisticsError(
            f"the curve of {curve.model}: {why}. Measure a pool of a fixed number (--replicas N when it is started), "
            "and say so: --measure ... --replicas N"
        )
    if len(curve.points) < 3:
        raise StatisticsError(
            f"the curve of {curve.model} has {len(curve.points)} points: three numbers of clients are the least that "
            "say how a pool scales. Measure again with more, such as --clients 1,2,4,8,16"
        )
    replicas = curve.replicas
    clients = np.array([max(point.clients / replicas, 1.0) for point in curve.points])
    rates = np.array([point.events_per_s / min(point.clients, replicas) for point in curve.points])

    def distance(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        single, serial, company = np.exp(logs)
        law = single * clients / (1 + (clients - 1) * (serial + company * clients))
        return np.asarray(np.log(law / rates))

    found = least_squares(distance, np.log([rates[0], 0.5, 1e-4]), bounds=([-np.inf, -20, -30], [np.inf, 0.0, 0.0]))
    single, serial, company = np.exp(found.x).tolist()
    return Scaling(single, serial, company, float(np.abs(np.expm1(distance(found.x))).max()))


@dataclass(frozen=True)
class Plan:
    """How many replicas a number of workers needs.

    Attributes:
        replicas: the answer.
        used: part of what they can give that the workers ask for.
        answer_s: mean time to an answer.
        chunk_s: time in which a worker selects the events of a request.
    """

    replicas: int
    used: float
    answer_s: float
    chunk_s: float

    @property
    def is_hidden(self) -> bool:
        """Workers that read the next events while they wait lose nothing."""
        return self.answer_s <= self.chunk_s

    @property
    def slower(self) -> float:
        """How much longer a chunk takes in workers that do nothing while they wait."""
        return self.answer_s / self.chunk_s


def plan_replicas(curve: Curve, *, workers: int, worker_rate: float, use: float = 0.7) -> Plan:
    """How many replicas, each like the measured ones on cores or a GPU of its own, serve a number of workers.

    Beyond the measured numbers of clients nothing is promised: there a replica is taken to give no more. Workers do not
    come one after the other: the time to an answer is that of the law, and a wait in line as in a queue with one
    server, arrivals at random and equal requests (M/D/1; F. Pollaczek, Math. Z. 32 (1930) 64).

    Args:
        curve: of one model, measured with requests of the size that the workers send.
        workers: processes or threads that ask.
        worker_rate: events per second that a worker selects, and so asks scores for.
        use: part of what a replica can give that is to be used; the rest is for times at which more come.

    Raises:
        StatisticsError: the curve has fewer than three points.
        ValueError: a number is not above zero and finite, or ``use`` not below one.
    """
    if workers < 1 or not 0 < worker_rate < math.inf or not 0 < use < 1:
        raise ValueError("workers and worker_rate must be above zero, use above zero and below one")
    law = fit_scaling(curve)
    up_to = curve.points[-1].clients / (curve.replicas or 1)
    _, most = law.most(up_to)
    chunk_s, wanted = curve.events / worker_rate, workers * worker_rate
    replicas = math.ceil(wanted / (use * most) * (1 - 1e-12))
    used = wanted / (replicas * most)
    waited_s = curve.events / most * used / (2 * (1 - used))
    return Plan(replicas, used, law.answer_s(wanted / replicas, curve.events, up_to) + waited_s, chunk_s)
