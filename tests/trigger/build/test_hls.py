"""hls4ml: the C++ gives the scores of the network bit for bit, and a transposed matrix does not get through."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("hls4ml")
from level1_events import checkpoint_of, made_up, random_inputs, random_network, roomy

from darkop_dist.errors import InputValueError, MissingToolError, OutputError, RunError
from darkop_dist.operators.fixed_point import FixedPointNetwork
from darkop_dist.trigger.build import hls, oneapi
from darkop_dist.trigger.build.compile import compile_for_trigger
from darkop_dist.trigger.build.hls import NO_TIMING, HlsProject, Span, build_hls

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


@needs_compiler
@pytest.mark.parametrize(
    ("tool", "score"),
    [
        pytest.param("Vitis", "squares", marks=pytest.mark.slow),
        pytest.param("Vivado", "value", marks=pytest.mark.slow),
        ("oneAPI", "squares"),
    ],
)
def test_the_code_gives_the_scores_of_the_network(tmp_path: Path, tool: str, score: str) -> None:
    inputs = random_inputs(1000)
    network = roomy(random_network(4, (5, 1) if score == "value" else (5, 3), score), inputs)
    checkpoint = checkpoint_of(network)
    assert len(np.unique(network.score(inputs))) > 10, "equal scores would say nothing"
    made = compile_for_trigger(
        checkpoint, sample=made_up(inputs), output=tmp_path / "project", backend="hls", tool=tool, clock_ns=5.0
    )
    assert isinstance(made, HlsProject)
    assert [(one.events, one.different) for one in made.parity] == [(1000, 0)]
    assert tool in made.parity[0].against
    assert made.timing_source == NO_TIMING
    assert made.report is None
    assert HlsProject.model_validate_json((tmp_path / "project" / "project.json").read_text()) == made
    settings = "CMakeLists.txt" if tool == "oneAPI" else "project.tcl"
    assert "5.0" in (tmp_path / "project" / settings).read_text()
    with pytest.raises(OutputError, match="not empty"):
        build_hls(checkpoint, inputs, tmp_path / "project", tool=tool)


@needs_compiler
@pytest.mark.parametrize("tool", [pytest.param("Vitis", marks=pytest.mark.slow), "oneAPI"])
def test_untransposed_weights_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    """hls4ml 1.3 leaves torch's matrices as they are with ``channels_last_conversion='off'``, without a word."""
    inputs, made = random_inputs(500), hls.graph_of
    network = roomy(random_network(4, (4, 4)), inputs)

    def transposed(given: object, *arguments: object, **settings: object) -> object:
        del given
        second = replace(network.layers[1], weight=np.ascontiguousarray(network.layers[1].weight.T))
        return made(replace(network, layers=(network.layers[0], second)), *arguments, **settings)

    monkeypatch.setattr(hls, "graph_of", transposed)
    with pytest.raises(RunError, match=r"hls4ml for .*scores differ.*Do not use this build"):
        build_hls(checkpoint_of(network), inputs, tmp_path / "project", tool=tool)
    assert not (tmp_path / "project" / "project.json").exists()


@needs_compiler
def test_numbers_of_one_bit_are_cut_as_they_are_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """hls4ml 1.3 writes them with two bits for oneAPI."""
    inputs = random_inputs(1000)
    network = roomy(random_network(4, (5, 3)), inputs)
    checkpoint = checkpoint_of(with_single_bits(network, np.arange(3)))
    assert build_hls(checkpoint, inputs, tmp_path / "right", tool="oneAPI").parity[0].different == 0
    monkeypatch.setattr(oneapi, "keep_single_bits", lambda *_: None)
    with pytest.raises(RunError, match="scores differ"):
        build_hls(checkpoint, inputs, tmp_path / "wrong", tool="oneAPI")


def with_single_bits(network: FixedPointNetwork, places: npt.NDArray[np.int64]) -> FixedPointNetwork:
    """The network with the highest bit alone of some hidden numbers."""
    first, second = network.layers
    fraction = first.format.fraction.copy()
    fraction[places] = 1 - first.format.integer[places]
    return replace(network, layers=(replace(first, format=replace(first.format, fraction=fraction)), second))


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = random_inputs(500)
    checkpoint = checkpoint_of(roomy(random_network(4), inputs))
    with pytest.raises(InputValueError, match=r"'Quartus' is not known\. Use one of Vitis, Vivado, oneAPI"):
        build_hls(checkpoint, inputs, tmp_path / "a", tool="Quartus")
    with pytest.raises(InputValueError, match=r"reconstruction error is not supported.*use the backend fpga"):
        build_hls(checkpoint_of(random_network(4, (6, 3), "error")), inputs, tmp_path / "a")
    other = replace(checkpoint, card=checkpoint.card.model_copy(update={"architecture": "gaussian-mixture"}))
    with pytest.raises(InputValueError, match=r"firmware cannot be made of it.*Supported: networks of dense layers"):
        build_hls(other, inputs, tmp_path / "a")
    with pytest.raises(InputValueError, match="the network takes"):
        build_hls(checkpoint, inputs[:0], tmp_path / "a")
    with pytest.raises(InputValueError, match=r"clock period: 0\.0 ns"):
        build_hls(checkpoint, inputs, tmp_path / "a", clock_ns=0.0)
    with pytest.raises(InputValueError, match="its integer parts overflow"):
        build_hls(checkpoint_of(random_network(4)), inputs, tmp_path / "a")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match=r"program g\+\+, which is not installed\. Run: apt-get install g\+\+"):
        build_hls(checkpoint, inputs, tmp_path / "a")
    with pytest.raises(
        MissingToolError, match=r"program vitis-run, .*settings64\.sh of your installation of AMD Vitis"
    ):
        build_hls(checkpoint, inputs, tmp_path / "a", run_vendor=True)
    assert not (tmp_path / "a").exists(), "nothing is written before all this is known"


def test_types_hold_their_numbers() -> None:
    assert Span(0.0, 7.0, 1.0).type() == "ufixed<3,3>"
    assert Span(-8.0, 7.75, 0.25).type() == "fixed<6,4>"
    assert Span(0.0, 48.0, 16.0).type() == "ufixed<2,6>"
