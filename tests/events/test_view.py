from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path

import awkward as ak
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.errors import InputValueError
from darkop_dist.events.view import DisplayObject, EventView, view_of

finite = st.floats(allow_nan=False, allow_infinity=False)
objects = st.builds(
    DisplayObject,
    st.sampled_from(["jet", "muon", "met"]),
    finite,
    st.none() | finite,
    finite,
    finite,
    st.none() | finite,
)
views = st.builds(
    EventView, st.sampled_from(["CMS", "ATLAS"]), st.integers(-1), st.integers(0), st.integers(0, 2**64 - 1),
    st.lists(objects).map(tuple), st.text(), st.none() | finite, st.none() | finite,
)  # fmt: skip


@given(views)
def test_json_and_back_is_identity(view: EventView) -> None:
    assert EventView.from_dict(json.loads(json.dumps(view.to_dict()))) == view


def test_wrong_content_is_named() -> None:
    view = EventView("CMS", 1, 2, 3, (DisplayObject("jet", 1.0, 0.0, 0.0),)).to_dict()
    with pytest.raises(InputValueError, match="not the content of an event: 'objects'"):
        EventView.from_dict({key: value for key, value in view.items() if key != "objects"})
    with pytest.raises(InputValueError, match="unknown object 'gluon'"):
        EventView.from_dict({**view, "objects": [{**view["objects"][0], "kind": "gluon"}]})


def _events() -> ak.Array:
    return ak.Array(
        [
            {
                "run": 7, "luminosityBlock": 8, "event": 2**62 + 1,
                "Jet": [
                    {"pt": 40.0, "eta": 1.0, "phi": 2.0, "mass": 5.0, "btagDeepFlavB": -1.0},
                    {"pt": 90.0, "eta": -1.0, "phi": -2.0, "mass": 9.0, "btagDeepFlavB": 0.1},
                    {"pt": 29.9, "eta": 0.0, "phi": 0.0, "mass": 1.0, "btagDeepFlavB": 0.5},
                ],
                "Muon": [{"pt": 20.0, "eta": 0.1, "phi": 0.2, "looseId": True}, {"pt": 30.0, "eta": 0.1, "phi": 0.2, "looseId": False}],
                "MET": {"pt": 3.0, "phi": 1.5},
                "PuppiMET": {"pt": 4.0, "phi": 1.5},
            }
        ]
    )  # fmt: skip


def test_objects_above_threshold_by_falling_pt() -> None:
    view = view_of(_events()[0])
    assert (view.run, view.luminosity_block, view.event) == (7, 8, 2**62 + 1)
    assert [(item.kind, item.pt_gev) for item in view.objects] == [
        ("jet", 90.0),
        ("jet", 40.0),
        ("muon", 20.0),
        ("met", 3.0),
    ]
    assert view.objects[0] == DisplayObject("jet", 90.0, -1.0, -2.0, 9.0, 0.1)
    assert view.objects[1].btag is None
    assert view.objects[2].mass_gev == 0.1057
    assert view.objects[3].eta is None


def test_one_event_arrays_and_thresholds() -> None:
    assert view_of(_events(), min_pt_gev={"jet": 50.0}).objects[1].kind == "muon"
    with pytest.raises(InputValueError, match="2 events, where one is displayed"):
        view_of(ak.concatenate([_events(), _events()]))


def test_files_without_event_numbers() -> None:
    view = view_of(ak.Record({"MET": {"pt": 1.0, "phi": 0.0}}), experiment="simulation")
    assert (view.experiment, view.run, view.luminosity_block, view.event) == ("simulation", -1, 0, 0)


@pytest.mark.parametrize(
    "name", ["nanoAOD_2015_CMS_Open_Data_ttbar.root", "Run2012B_SingleMu_1000.root", "nano_dimuon.root"]
)
def test_real_events(shared_data: Path, name: str) -> None:
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coffea warns of branches that its schema does not know
        events = NanoEventsFactory.from_root(
            {str(shared_data / "cms" / name): "Events"}, schemaclass=NanoAODSchema, entry_stop=10, mode="virtual"
        ).events()
    for event in events:
        view = view_of(event)
        assert (view.run, view.luminosity_block, view.event) == (event.run, event.luminosityBlock, event.event)
        assert view.objects[-1] == DisplayObject("met", float(event.MET.pt), None, float(event.MET.phi))
        assert all(abs(item.phi) <= math.pi + 1e-5 for item in view.objects)
        assert EventView.from_dict(view.to_dict()) == view
        assert sum(item.kind == "jet" for item in view.objects) == sum(pt >= 30.0 for pt in event.Jet.pt.tolist())


def test_the_module_is_light() -> None:
    code = "import sys, darkop_dist.events.view; print(sorted({'awkward', 'coffea', 'matplotlib', 'torch'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"
