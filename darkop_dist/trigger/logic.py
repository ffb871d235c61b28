"""From a fixed-point network to adders, shifts, multiplexers and tables: the circuit that da4ml makes of it.

da4ml (arXiv:2507.04535) shares sums between outputs (distributed arithmetic) and knows the exact range of every number,
so nothing overflows that a format does not cut. What is left to us is to say what the network does on its arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, MissingExtraError
from darkop_dist.events.level1 import INPUTS, input_ranges
from darkop_dist.operators.fixed_point import FixedPointNetwork, Format, patch_index

MOST_TABLE_BITS = 7  # squares of numbers up to so many bits come from a table


def trace_logic(
    network: FixedPointNetwork,
    low: npt.NDArray[np.int16],
    high: npt.NDArray[np.int16],
    *,
    depth: int = 2,
) -> Any:
    """The circuit of a network, without registers.

    Args:
        network: in fixed point.
        low: smallest whole number of each input that the hardware can give, shape (inputs,).
        high: the largest.
        depth: how many adders deeper than the least a product of a matrix may be, in exchange for fewer adders; -1 for
            any.

    Returns:
        da4ml's ``CombLogic``, from the inputs to the score.

    Raises:
        MissingExtraError: da4ml is not installed.
        InputValueError: the network uses no input.
    """
    try:
        from da4ml.trace import FixedVariableArray, HWConfig, comb_trace
    except ImportError as error:
        raise MissingExtraError("da4ml", "trigger") from error
    raw = FixedVariableArray.from_lhs(
        low.astype(np.float64),
        high.astype(np.float64),
        np.ones(len(low)),
        hwconf=HWConfig(1, -1, -1),
        solver_options={"hard_dc": depth},
    )
    seen = _cut(raw, network.input_format)
    found = seen
    for place, layer in enumerate(network.layers):
        if place == 0 and network.settings.patches is not None:
            found = found[patch_index(network.settings)]
        found = _cut(found @ layer.weight + layer.bias, layer.format, relu=layer.relu).reshape(-1)
    if network.settings.score == "squares":
        score = np.sum(_squares(found))
    elif network.settings.score == "error":
        score = np.sum(np.abs(seen[network.error_inputs] * network.error_scale - found))
    else:
        score = found[0]
    made = _cut(_array(score), network.score_format)
    if made.collapsed:
        raise InputValueError("network", "its score does not depend on any input", "Train it with less pruning")
    return comb_trace(raw, made, keep_dead_inputs=True)


def _array(numbers: Any) -> Any:
    from da4ml.trace import FixedVariableArray

    return numbers if isinstance(numbers, FixedVariableArray) else FixedVariableArray(np.array([numbers]))


def _cut(numbers: Any, wanted: Format, *, relu: bool = False) -> Any:
    """Numbers of shape (..., outputs) in a format."""
    shape = numbers.shape
    sign, integer, fraction = (
        np.broadcast_to(array, shape).ravel()
        for array in (np.where(wanted.bits > 0, int(wanted.signed), 0), wanted.integer, wanted.fraction)
    )
    flat = numbers.reshape(-1)
    found = np.empty(len(sign), dtype=object)
    for place in range(len(sign)):
        k, i, f = int(sign[place]), int(integer[place]), int(fraction[place])
        number = flat._vars[place]  # noqa: SLF001  # da4ml gives no single number out otherwise
        found[place] = _saturated(number.relu() if relu else number, k, i, f)
    return type(numbers)(found.reshape(shape), numbers.solver_options, hwconf=numbers.hwconf)


def _saturated(number: Any, k: int, i: int, f: int) -> Any:
    """One number cut to sign, integer and fraction bits, saturating.

    Of a number that cannot be negative it is enough to see whether one of the upper bits is set: a few LUTs, and no
    comparison.
    """
    if i + f <= 0:
        return number.quantize(0, 0, 0)
    if number.low >= 0 and number._factor > 0:  # noqa: SLF001
        top = 2.0**i - 2.0**-f
        if number.high < 2.0**i:
            return number.quantize(0, i, f)
        if number.low >= 2.0**i:
            return number.quantize(0, i, f, "SAT")
        _, integer, _ = number.kif
        if integer == i + 1:  # da4ml 0.6 takes the wrong bit where one upper bit alone is the key of a multiplexer
            return number.quantize(0, i, f, "SAT")
        over = number.quantize(0, integer, -i).unary_bit_op("any")
        return over.msb_mux(number.from_const(top, number.hwconf), number.quantize(0, i, f))
    return number.quantize(k, i, f, "SAT")


def _squares(numbers: Any) -> Any:
    """Squares: from a table where the number has few bits."""
    found = []
    for number in numbers._vars.ravel():  # noqa: SLF001
        bits = sum(number.kif)
        if bits == 0:
            continue
        count = round(float((number.high - number.low) / number.step)) + 1
        if bits <= MOST_TABLE_BITS and count > 1:
            found.append(number.lookup(np.square(float(number.low) + float(number.step) * np.arange(count))))
        else:
            found.append(number * number)
    return type(numbers)(np.array(found), numbers.solver_options, hwconf=numbers.hwconf)


def ranges_of(network: FixedPointNetwork) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Smallest and largest whole number that the hardware can give at each input."""
    if network.settings.inputs == INPUTS:
        return input_ranges()
    return np.zeros(network.settings.inputs, dtype=np.int16), np.full(network.settings.inputs, 1023, dtype=np.int16)


def emulate(logic: Any, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scores of the circuit, by da4ml's bit-exact interpreter.

    Args:
        logic: of `trace_logic`.
        inputs: whole numbers of the hardware, shape (events, inputs).
    """
    flat = np.ascontiguousarray(inputs.reshape(len(inputs), -1).astype(np.float64))
    return np.asarray(logic.predict(flat, n_threads=1)).reshape(len(inputs)).astype(np.float32)
