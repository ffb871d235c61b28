"""One score, computed in every way that it will be: one table of equal bits and of efficiencies at a fixed rate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from darkop_dist.errors import OutputError
from darkop_dist.operators.checkpoint import Checkpoint
from darkop_dist.operators.fixed_point_torch import TorchNetwork
from darkop_dist.trigger.build.flow import new_folder
from darkop_dist.trigger.build.hls import COMPARED, is_supported, simulate_project
from darkop_dist.trigger.build.model import model_of, require_events
from darkop_dist.trigger.build.verilator import simulate
from darkop_dist.trigger.build.verilog import write_design
from darkop_dist.trigger.distil import Yardstick, score_sample
from darkop_dist.trigger.logic import emulate, ranges_of, trace_logic
from darkop_dist.trigger.sample import Level1Sample, require_zero_bias
from darkop_dist.trigger.weighted import threshold_for, weights_at

logger = logging.getLogger(__name__)

FILE = "parity.json"
Array = npt.NDArray[np.float32]
Way = Callable[[Array], Array]


class ParityRow(BaseModel):
    """A way to compute the score.

    Attributes:
        way: its name.
        exact: whether its scores must be those of the network, bit for bit.
        events: how many were scored, zero bias and signals.
        different: how many scores are not those of the network.
        threshold: the lowest accepted score, from its own scores of zero bias.
        efficiency: of each signal, from its own scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    way: str
    exact: bool
    events: int
    different: int
    threshold: float
    efficiency: dict[str, float]


class ParityTable(BaseModel):
    """All ways to compute the score of one checkpoint.

    Attributes:
        schema_version: of this layout.
        model: name of the checkpoint.
        fingerprint: of the checkpoint.
        rate_hz: at which efficiencies are compared.
        conditions: of the LHC.
        luminosity: in 1/(cm2 s).
        rows: the ways, first those that need not be equal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    model: str
    fingerprint: str
    rate_hz: float
    conditions: str
    luminosity: float
    rows: tuple[ParityRow, ...]

    @property
    def holds(self) -> bool:
        """Whether all that must be equal is equal."""
        return not any(row.exact and row.different for row in self.rows)


def parity_table(
    checkpoint: Checkpoint,
    yardstick: Yardstick,
    folder: str | Path,
    *,
    teacher: Checkpoint | None = None,
    more: AbstractContextManager[Mapping[str, Way]] | None = None,
    stages: int = 1,
    say: Callable[[str], None] = logger.info,
) -> ParityTable:
    """Compare the ways to compute a score, each on all crossings and all signals.

    Args:
        checkpoint: with a fixed-point network.
        yardstick: the zero bias that gives the rate, the signals, the rate.
        folder: for ``parity.json`` and the Verilog; must be new or empty.
        teacher: the full operator that it was distilled from, shown for comparison.
        more: gives ways by name beyond the process, torch, emulator, C simulation and Verilator, such as a pool that
            it starts; they must be exact.
        stages: of the pipeline in Verilog.
        say: told what happens.

    Returns:
        The table, as written to the file. It is for the caller to refuse one that does not hold.

    Raises:
        InputValueError: the checkpoint holds another model, or a sample of a signal stands where zero bias must.
        OutputError: the folder is not empty, or cannot be written.
        StatisticsError: the sample cannot say which score gives the rate.
        MissingToolError, ToolError: a tool is not installed, or failed.
    """
    require_zero_bias(yardstick.zero_bias)
    network = model_of(checkpoint).network
    regions = len(network.settings.input_shape) > 1
    samples = {"": yardstick.zero_bias, **yardstick.signals}
    seen = [one.regions if regions else one.inputs for one in samples.values()]
    inputs = require_events(np.concatenate(seen), network)
    expected = network.score(inputs)
    exact = _row("fixed point, in the process (numpy)", expected, expected, samples, yardstick, exact=True)
    logic = trace_logic(network, *ranges_of(network), depth=0)
    target = new_folder(folder)
    design = write_design(logic, target / f"stages-{stages}", stages)
    rows: list[ParityRow] = []

    def add(way: str, scores: Array, *, exact: bool) -> None:
        rows.append(_row(way, scores, expected, samples, yardstick, exact=exact))
        equal = "" if not exact else f": {rows[-1].different} of {len(scores)} scores differ"
        say(f"{way}{equal}")

    if teacher is not None:
        full = [score_sample(teacher, one) for one in samples.values()]
        add("full operator, torch float32", np.concatenate(full), exact=False)
    add("same weights, torch float32, nothing cut", TorchNetwork(network, cuts=False).scores(inputs), exact=False)
    rows.append(exact)
    add("fixed point, torch", TorchNetwork(network).scores(inputs), exact=True)
    with more or nullcontext({}) as ways:
        for way, score in ways.items():
            add(way, score(inputs), exact=True)
    add("emulator of the circuit (da4ml)", emulate(logic, inputs), exact=True)
    if is_supported(network):
        add(COMPARED["Vitis"], simulate_project(network, inputs, target / "hls"), exact=True)
    else:
        say("C simulation: not for a convolution or a reconstruction error")
    add("Verilog (Verilator)", simulate(design, inputs), exact=True)
    table = ParityTable(
        model=checkpoint.card.name,
        fingerprint=checkpoint.card.fingerprint,
        rate_hz=yardstick.rate_hz,
        conditions=yardstick.conditions.name,
        luminosity=yardstick.conditions.luminosity,
        rows=tuple(rows),
    )
    try:
        (target / FILE).write_text(table.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target / FILE}: cannot be written ({error}). Choose another folder") from error
    return table


def _row(
    way: str, scores: Array, expected: Array, samples: Mapping[str, Level1Sample], yardstick: Yardstick, *, exact: bool
) -> ParityRow:
    ends = np.cumsum([len(one) for one in samples.values()])
    zero_bias, *signals = np.split(scores, ends[:-1])
    conditions = yardstick.conditions
    weight = weights_at(yardstick.zero_bias, conditions)
    cut = threshold_for(zero_bias, weight, conditions.crossings_hz, yardstick.rate_hz)
    return ParityRow(
        way=way,
        exact=exact,
        events=len(scores),
        different=int(np.count_nonzero(scores != expected)),
        threshold=cut,
        efficiency={name: float((one >= cut).mean()) for name, one in zip(yardstick.signals, signals, strict=True)},
    )
