"""Patchsets: pyhf's own command line takes what is written, and ATLAS's archives are read."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.errors import InputFileError, StatisticsError, UnknownNameError, UserError
from darkop_dist.limits import Workspace, cls_values
from darkop_dist.limits.interchange import load_patchset, patchset


def signal_at(mass: int, events: list[float]) -> Workspace:
    """A search for one signal; backgrounds and data are the same for all of them."""
    staterror = {"name": "mc", "type": "staterror", "data": [2.0, 1.0]}
    eff = {"name": "eff", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    mu = {"name": "mu", "type": "normfactor", "data": None}
    name = f"zprime-{mass}"
    samples = [
        {"name": "top", "data": [50.0, 20.0], "modifiers": [staterror]},
        {"name": name, "data": events, "modifiers": [mu, eff, {"name": f"own_{mass}", **OWN}]},
        {"name": "wjets", "data": [10.0, 4.0], "modifiers": [eff, staterror]},
    ]
    parameters = [{"name": "mu", "inits": [1.0], "bounds": [[0.0, mass / 100]]}, {"name": "eff", "inits": [0.0]}]
    spec = {
        "channels": [
            {"name": "sr", "samples": samples},
            {"name": "cr", "samples": [{"name": "top", "data": [300.0], "modifiers": []}]},
        ],
        "observations": [{"name": "sr", "data": [63.0, 22.0]}, {"name": "cr", "data": [310.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": parameters}}],
        "version": "1.0.0",
    }
    return Workspace(name, spec, "data")


OWN = {"type": "normsys", "data": {"hi": 1.2, "lo": 0.85}}
GRID = {"zprime-1000": signal_at(1000, [12.0, 3.0]), "zprime-2000": signal_at(2000, [1.0, 5.0])}
POINTS = {"zprime-1000": (1000.0,), "zprime-2000": (2000.0,)}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    patchset(GRID, labels=["m_zprime"], points=POINTS, description="Z' grid").save(tmp_path / "grid")
    return tmp_path / "grid"


def pyhf(*arguments: object) -> str:
    program = Path(sys.executable).with_name("pyhf")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pyhf_verifies_and_applies(written: Path) -> None:
    background, patches = written / "BkgOnly.json", written / "patchset.json"
    assert "All good" in pyhf("patchset", "verify", background, patches)
    for name, workspace in GRID.items():
        spec = json.loads(pyhf("patchset", "apply", background, patches, "--name", name.replace("-", "_")))
        assert spec == workspace.spec
        for mu in (0.3, 1.0):
            assert cls_values(Workspace(name, spec, "data"), mu) == cls_values(workspace, mu)


def test_the_metadata(written: Path) -> None:
    body = json.loads((written / "patchset.json").read_text())
    assert body["metadata"]["labels"] == ["m_zprime"]
    assert body["metadata"]["description"] == "Z' grid"
    assert body["metadata"]["references"] == {"hepdata": "ins0000000"}
    assert [patch["metadata"] for patch in body["patches"]] == [
        {"name": "zprime_1000", "values": [1000.0]}, {"name": "zprime_2000", "values": [2000.0]},
    ]  # fmt: skip
    background = json.loads((written / "BkgOnly.json").read_text())
    assert [s["name"] for s in background["channels"][0]["samples"]] == ["top", "wjets"]
    assert background["measurements"][0]["config"]["parameters"] == [{"name": "eff", "inits": [0.0]}]
    notes = patchset(GRID, hepdata="ins1234567").notes
    assert notes == tuple(f"the signal zprime-{m} is the patch zprime_{m}" for m in (1000, 2000))


def test_reading_what_was_written(written: Path) -> None:
    found = load_patchset(written / "BkgOnly.json", written / "patchset.json")
    assert {name: w.spec for name, w in found.items()} == {n.replace("-", "_"): w.spec for n, w in GRID.items()}
    assert load_patchset(written, names=["zprime_2000"])["zprime_2000"].spec == GRID["zprime-2000"].spec
    with pytest.raises(UnknownNameError, match=r"unknown patch 'zprime_200'\. Did you mean zprime_2000"):
        load_patchset(written, names=["zprime_200"])


def test_a_single_patch(written: Path, tmp_path: Path) -> None:
    patch = json.loads((written / "patchset.json").read_text())["patches"][0]["patch"]
    (tmp_path / "patch.light.json").write_text(json.dumps(patch))
    found = load_patchset(written / "BkgOnly.json", tmp_path / "patch.light.json")
    assert {name: workspace.spec for name, workspace in found.items()} == {"light": GRID["zprime-1000"].spec}


def test_an_archive_of_atlas(shared_data: Path, tmp_path: Path) -> None:
    archive = shared_data / "likelihoods" / "pyhf-ins1748602-probability-models.tar.gz"
    name = "sbottom_1300_205_60"
    found = load_patchset(archive, region="RegionA", names=[name])[name]
    assert cls_values(found, 1.0).observed == pytest.approx(0.24443628, abs=2e-5)  # published; pyhf
    assert found.observed == "data"
    with pytest.raises(UnknownNameError, match=r"unknown region ''\. Choose one of RegionA, RegionB, RegionC"):
        load_patchset(archive)
    with pytest.raises(
        UnknownNameError, match=r"unknown patch 'sbottom_1300_205_6'\. Did you mean sbottom_1300_205_60"
    ):
        load_patchset(archive, region="RegionA", names=["sbottom_1300_205_6"])
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, filter="data")
    assert load_patchset(tmp_path / "RegionA", names=[name])[name].spec == found.spec


def other(change: Callable[[dict[str, Any]], Any]) -> Workspace:
    spec = copy.deepcopy(GRID["zprime-2000"].spec)
    change(spec)
    return Workspace("zprime-2000", spec, "data")


def top(spec: dict[str, Any]) -> dict[str, Any]:
    return spec["channels"][0]["samples"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: top(spec).update(data=[50.0, 21.0]), "zprime-2000 and zprime-1000 have different backgrounds in sr: top"),
        (lambda spec: spec["channels"][0]["samples"].reverse(), "different backgrounds in sr: their order"),
        (lambda spec: spec["observations"][1].update(data=[311.0]), "have different data in cr"),
        (lambda spec: spec["channels"].reverse(), "have different channels: cr, sr and sr, cr"),
        (lambda spec: spec["measurements"][0].update(name="other"), "have different measurements"),
        (lambda spec: spec["channels"][0]["samples"].pop(1), "the workspace zprime-2000 has no signal"),
        (lambda spec: spec["channels"][0].update(samples=spec["channels"][0]["samples"][1:2]), "zprime-2000 has no background in sr"),
    ],
)  # fmt: skip
def test_workspaces_that_share_no_background(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        patchset({**GRID, "zprime-2000": other(change)})


@pytest.mark.parametrize(
    ("workspaces", "settings", "message"),
    [
        ({}, {}, "needs one workspace"),
        ({"a-b": GRID["zprime-1000"], "a_b": GRID["zprime-2000"]}, {}, "two signals would have the patch a_b"),
        (GRID, {"labels": ["m(Z')"]}, r"the label \"m\(Z'\)\" is not made of letters"),
        (GRID, {"labels": ["m", "g"]}, "the signal zprime-1000 has 1 values for the labels m, g"),
        (GRID, {"points": {"zprime-3000": (3000.0,)}}, "zprime-3000 has a point but no workspace"),
        (GRID, {"points": dict.fromkeys(GRID, (1.0,))}, r"two signals stand at \[1.0\]"),
        (GRID, {"hepdata": "1234"}, "pyhf refuses the patchset"),
    ],
)  # fmt: skip
def test_grids_that_make_no_sense(workspaces: dict[str, Workspace], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        patchset(workspaces, **settings)


def test_patches_that_do_not_fit(written: Path, tmp_path: Path) -> None:
    background = written / "BkgOnly.json"
    changed = json.loads(background.read_text())
    top(changed)["data"] = [51.0, 20.0]
    (tmp_path / "other.json").write_text(json.dumps(changed))
    with pytest.raises(InputFileError, match="was made for other backgrounds: its digest is not theirs"):
        load_patchset(tmp_path / "other.json", written / "patchset.json")
    (tmp_path / "bad.json").write_text('[{"op": "add", "path": "/channels/9/samples/0", "value": {}}]')
    with pytest.raises(InputFileError, match="the patch bad does not fit the backgrounds"):
        load_patchset(background, tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text('[{"op": "remove", "path": "/channels"}]')
    with pytest.raises(InputFileError, match="patch bad: is not a pyhf workspace"):
        load_patchset(background, tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(InputFileError, match="is no patchset of pyhf"):
        load_patchset(background, tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputFileError, match="is not JSON"):
        load_patchset(background, tmp_path / "bad.json")
    with pytest.raises(InputFileError, match=r"absent\.json: cannot be read"):
        load_patchset(background, tmp_path / "absent.json")
    with pytest.raises(InputFileError, match="is neither a directory nor a tar archive"):
        load_patchset(background)
    with pytest.raises(InputFileError, match="absent: no such file"):
        load_patchset(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFileError, match=r"holds no BkgOnly.json"):
        load_patchset(tmp_path / "empty")
