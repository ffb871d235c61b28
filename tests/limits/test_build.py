"""Workspaces hold what the histogram holds, and say what they leave out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import hist
import numpy as np
import pyhf
import pytest

from darkop_dist.errors import InputFileError, InputValueError, StatisticsError, UnknownNameError, UserError
from darkop_dist.limits import FitSample, Workspace, build_workspace
from darkop_dist.limits.backend import numpy_backend

Filled = dict[tuple[str, str, str], list[float]]
Book = Callable[..., hist.Hist]


def sample_spec(workspace: Workspace, name: str, channel: int = 0) -> dict:
    return next(sample for sample in workspace.spec["channels"][channel]["samples"] if sample["name"] == name)


def modifier(workspace: Workspace, sample: str, name: str, kind: str) -> dict:
    mods = sample_spec(workspace, sample)["modifiers"]
    return next(mod for mod in mods if (mod["name"], mod["type"]) == (name, kind))


def test_templates_statistics_and_modifiers(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    workspace = build_workspace(
        booked(filled),
        samples,
        signal="zprime",
        regions=["signal"],
        lumi_uncertainty=0.02,
        systematics=["jes", "luminosity"],
        normalisation={"top": (0.2, 0.3), "multijet": 0.5},
    )
    with numpy_backend():
        pyhf.Workspace(workspace.spec).model()  # keeps the schema
    # overflow joins the last bin, and the observation likewise
    assert sample_spec(workspace, "top")["data"] == pytest.approx([40, 20, 10, 6])
    assert workspace.spec["observations"] == [{"name": "signal", "data": [98, 52, 21, 13]}]
    # events of weight 0.5: variance = 0.5 * sum of weights
    statistical = modifier(workspace, "top", "mc_statistics_signal", "staterror")["data"]
    assert statistical == pytest.approx(np.sqrt([20, 10, 5, 3]))
    assert modifier(workspace, "top", "luminosity", "normsys")["data"] == pytest.approx({"lo": 1 / 1.02, "hi": 1.02})
    assert modifier(workspace, "top", "top_normalisation", "normsys")["data"] == pytest.approx({"lo": 0.8, "hi": 1.3})
    assert modifier(workspace, "multijet", "multijet_normalisation", "normsys")["data"]["lo"] == pytest.approx(0.5)
    # the systematic: normalisation, and a shape with the nominal integral
    norm = modifier(workspace, "top", "jes", "normsys")["data"]
    assert norm == pytest.approx({"lo": 71.5 / 76, "hi": 81.5 / 76})
    shape = modifier(workspace, "top", "jes", "histosys")["data"]
    assert np.sum(shape["hi_data"]) == pytest.approx(76)
    assert np.array(shape["hi_data"]) * norm["hi"] == pytest.approx([38, 22, 13, 8.5])
    assert all(mod["name"] != "jes" for mod in sample_spec(workspace, "multijet")["modifiers"])
    # the signal: its strength, and its statistics as a normalisation of its own
    assert modifier(workspace, "zprime", "mu", "normfactor")
    assert modifier(workspace, "zprime", "mc_statistics_signal_zprime", "normsys")["data"]["hi"] == pytest.approx(
        1 + np.sqrt(0.5 / 10)
    )
    assert all(mod["type"] != "staterror" for mod in sample_spec(workspace, "zprime")["modifiers"])
    assert (workspace.observed, workspace.notes, workspace.poi) == ("data", (), "mu")
    assert workspace.edges == {"signal": (0.0, 1.0, 2.0, 3.0, 4.0)}


def test_scales_and_several_datasets(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    merged = [s for s in samples if s.role != "background"]
    merged.append(FitSample("sm", ("qcd", "ttbar"), (2.0, 0.5), "background", "SM"))
    workspace = build_workspace(booked(filled), merged, signal="zprime", regions=["signal"], systematics=["jes"])
    assert sample_spec(workspace, "sm")["data"] == pytest.approx([140, 70, 25, 15])
    statistical = modifier(workspace, "sm", "mc_statistics_signal", "staterror")["data"]
    assert statistical[0] == pytest.approx(np.sqrt(4 * 30 + 0.25 * 20))
    # the dataset without variations enters the varied template with its nominal one
    norm, shape = (modifier(workspace, "sm", "jes", kind)["data"] for kind in ("normsys", "histosys"))
    assert np.array(shape["hi_data"]) * norm["hi"] == pytest.approx([139, 71, 26.5, 16.25])


def test_merged_bins_and_overflow(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    filled[("qcd", "signal", "nominal")][0] = 7.0
    histogram = booked(filled)

    def multijet(**settings: object) -> list[float]:
        workspace = build_workspace(histogram, samples, signal="zprime", regions=["signal"], **settings)
        return sample_spec(workspace, "multijet")["data"]

    assert multijet() == pytest.approx([67, 30, 10, 6])
    assert multijet(include_overflow=False) == pytest.approx([60, 30, 10, 5])
    assert multijet(bin_edges_used=[0, 2, 4]) == pytest.approx([97, 16])
    assert multijet(bin_edges_used=[1, 2, 3]) == pytest.approx([97, 16])
    assert multijet(bin_edges_used=[1, 2, 3], include_overflow=False) == pytest.approx([30, 10])
    assert multijet(bin_edges_used={"signal": [0, 4]}) == pytest.approx([113])
    with pytest.raises(UserError, match=r"1\.5 is no edge of it"):
        multijet(bin_edges_used=[0, 1.5, 4])
    with pytest.raises(UserError, match="two or more and increase"):
        multijet(bin_edges_used=[3.0])


def test_asimov_mode(booked: Book, filled: Filled, samples: list[FitSample], tmp_path: Path) -> None:
    simulated = [sample for sample in samples if sample.role != "data"]
    workspace = build_workspace(booked(filled), simulated, signal="zprime", regions=["signal"])
    assert workspace.observed == "asimov"
    assert workspace.spec["observations"][0]["data"] == pytest.approx([100, 50, 20, 12])
    workspace.save(tmp_path / "workspace.json")
    assert Workspace.load(tmp_path / "workspace.json").observed == "asimov"


def test_save_and_load(booked: Book, filled: Filled, samples: list[FitSample], tmp_path: Path) -> None:
    workspace = build_workspace(booked(filled), samples, signal="zprime", regions=["signal"])
    workspace.save(tmp_path / "workspace.json")
    loaded = Workspace.load(tmp_path / "workspace.json")
    assert (loaded.spec, loaded.signal, loaded.observed) == (workspace.spec, "zprime", "data")
    assert loaded.sha256 == workspace.sha256
    (tmp_path / "workspace.json").write_text('{"channels": []}')
    with pytest.raises(InputFileError, match="is not a pyhf workspace"):
        Workspace.load(tmp_path / "workspace.json")
    with pytest.raises(InputFileError, match=r"absent\.json: cannot be read"):
        Workspace.load(tmp_path / "absent.json")


def test_negative_and_missing_templates_are_noted(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    filled[("qcd", "signal", "nominal")][3] = -2.0
    samples.append(FitSample("wjets", ("wjets",), (1.0,), "background", "W+jets"))
    workspace = build_workspace(booked(filled), samples, signal="zprime", regions=["signal"])
    assert sample_spec(workspace, "multijet")["data"] == pytest.approx([60, 30, 0, 6])
    assert any("multijet, region signal, 2 to 3: the sum of weights -2 is negative" in n for n in workspace.notes)
    assert "sample wjets has no events in any region; dropped" in workspace.notes


def test_bin_with_signal_but_without_background_is_refused(
    booked: Book, filled: Filled, samples: list[FitSample]
) -> None:
    for dataset in ("data", "qcd", "ttbar"):
        filled[(dataset, "signal", "nominal")][4:] = [0, 0]
    with pytest.raises(StatisticsError, match="signal but no expected background in the bins 3 to 4; merge"):
        build_workspace(booked(filled), samples, signal="zprime", regions=["signal"])
    filled[("zprime", "signal", "nominal")][4:] = [0, 0]
    workspace = build_workspace(booked(filled), samples, signal="zprime", regions=["signal"])
    assert any("3 to 4: neither background nor signal" in note for note in workspace.notes)


def test_variation_that_leaves_nothing_is_noted(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    filled[("ttbar", "control", "jes_down")] = filled[("ttbar", "signal", "jes_down")]
    filled[("ttbar", "signal", "jes_down")] = [0] * 6
    workspace = build_workspace(booked(filled), samples, signal="zprime", regions=["signal"], systematics=["jes"])
    assert any("top, region signal, jes_down: it leaves 0 of the events" in note for note in workspace.notes)
    assert modifier(workspace, "top", "jes", "normsys")["data"]["lo"] == 0.01
    assert modifier(workspace, "top", "jes", "histosys")["data"]["lo_data"] == pytest.approx([40, 20, 10, 6])


def test_data_without_background(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    for dataset in ("qcd", "ttbar"):
        filled[(dataset, "signal", "nominal")][3] = 0.0
    with pytest.raises(StatisticsError, match=r"region signal: data but no expected background in the bins 2 to 3;"):
        build_workspace(booked(filled), samples, signal="zprime", regions=["signal"])


def test_signal_without_events(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    del filled[("zprime", "signal", "nominal")]
    with pytest.raises(StatisticsError, match="the signal zprime has no selected events in the regions signal"):
        build_workspace(booked(filled), samples, signal="zprime", regions=["signal"])


def test_no_background_at_all(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    simulated = [dataclasses.replace(s, datasets=("none",)) if s.role == "background" else s for s in samples[1:]]
    with pytest.raises(StatisticsError, match="no background has selected events"):
        build_workspace(booked(filled), simulated, signal="zprime", regions=["signal"])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"signal": "zprim"}, UnknownNameError, "unknown signal 'zprim'. Did you mean zprime"),
        ({"signal": "top"}, UnknownNameError, "unknown signal 'top'"),
        ({"regions": ["signl"]}, UnknownNameError, "unknown region 'signl'. Did you mean signal"),
        ({"systematics": ["jer"]}, UnknownNameError, "unknown systematic 'jer'. Did you mean jes"),
        ({"systematics": ["luminosity"]}, StatisticsError, "needs its relative uncertainty"),
        ({"normalisation": {"tops": 0.1}}, UnknownNameError, "unknown sample 'tops'"),
        ({"normalisation": {"top": 1.5}}, StatisticsError, "normalisation of top"),
        ({"lumi_uncertainty": -0.1}, StatisticsError, "the luminosity is"),
    ],
)
def test_what_does_not_exist(
    booked: Book, filled: Filled, samples: list[FitSample], *, settings: dict, error: type[Exception], message: str
) -> None:
    arguments = {"signal": "zprime", "regions": ["signal"], **settings}
    with pytest.raises(error, match=message):
        build_workspace(booked(filled), samples, **arguments)


def test_nan_weights_and_scales(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    histogram = booked(filled)
    histogram.fill("qcd", "signal", "nominal", [0.5], weight=[np.nan])
    with pytest.raises(InputValueError, match="sample multijet in region signal: the sum of weights is not finite"):
        build_workspace(histogram, samples, signal="zprime", regions=["signal"])
    with pytest.raises(InputValueError, match="scale nan"):
        FitSample("top", ("ttbar",), (float("nan"),), "background", "top")
    with pytest.raises(StatisticsError, match="2 datasets and 1 scales"):
        FitSample("top", ("a", "b"), (1.0,), "background", "top")


def test_other_histograms_are_refused(samples: list[FitSample]) -> None:
    plain = hist.Hist(hist.axis.Regular(3, 0, 1, name="mtt"), storage=hist.storage.Weight())
    with pytest.raises(UserError, match="axes dataset, region, variation"):
        build_workspace(plain, samples, signal="zprime", regions=["signal"])
    unweighted = hist.Hist(
        *(hist.axis.StrCategory([], growth=True, name=name) for name in ("dataset", "region", "variation")),
        hist.axis.Regular(3, 0, 1, name="mtt"),
        storage=hist.storage.Double(),
    )
    with pytest.raises(UserError, match="Weight storage"):
        build_workspace(unweighted, samples, signal="zprime", regions=["signal"])
