from __future__ import annotations

from pathlib import Path

import awkward as ak
import pytest
import pythia8mc
import uproot

from darkop_dist.errors import InputValueError, OutputError, UnknownNameError
from darkop_dist.generation import GeneratedSample, generate, load_process, plan
from darkop_dist.generation.pileup_profile import read_profile
from darkop_dist.generation.process import pythia_lines

FAST: dict[str, float | int | str] = {"mpi": "off"}


def content(file: Path) -> ak.Array:
    with uproot.open(file) as opened:
        return opened["Events"].arrays()


def test_a_seed_gives_the_same_events_and_another_does_not(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.root" for number in range(3)]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        generate("qcd-dijets", 20, file, seed=seed, settings=FAST)
    first, same, other = map(content, files)
    assert ak.array_equal(first, same)
    assert not ak.array_equal(first, other)


def test_parts_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "EVENTS_PER_PART", 20)
    seen: list[int] = []
    one = generate("monojet-dm", 50, tmp_path / "1.root", seed=4, settings=FAST, progress=seen.append)
    assert seen == [20, 40, 50]
    assert content(one.file).luminosityBlock.to_list() == [1] * 20 + [2] * 20 + [3] * 10
    jets = content(one.file).Jet_pt
    assert jets[:10].to_list() != jets[20:30].to_list()  # parts have seeds of their own


def test_parts_with_pile_up_are_smaller_and_hold_the_same_events() -> None:
    """Ten collisions count as one event of memory: with 30 on average a part has a quarter of the events."""
    pileup = plan.Measurement(pileup=read_profile("30"))
    parts = plan.plan_parts("qcd-dijets", 1000, seed=1, settings=FAST, measurement=pileup)
    assert [part.events for part in parts] == [250] * 4
    assert [part.events for part in plan.plan_parts("qcd-dijets", 2100, seed=1, settings=FAST)] == [1000, 1000, 100]


@pytest.mark.parametrize("process", ["qcd-dijets", "z-nunu-jets"])
def test_the_cross_section_is_pythias_own(process: str, samples: dict[str, GeneratedSample]) -> None:
    """One plain run of Pythia with another seed; agreement within four combined standard deviations."""
    pythia = pythia8mc.Pythia("", False)
    own = ("Print:quiet = on", "Random:setSeed = on", "Random:seed = 99", "PartonLevel:all = off")
    for line in (*pythia_lines(load_process(process), FAST), *own):
        assert pythia.readString(line)
    assert pythia.init()
    for _ in range(2000):
        assert pythia.next()
    info, sample = pythia.infoPython(), samples[process]
    uncertainty = (sample.xsec_error_pb**2 + (info.sigmaErr() * 1e9) ** 2) ** 0.5
    assert sample.xsec_pb == pytest.approx(info.sigmaGen() * 1e9, abs=4 * uncertainty)
    assert uncertainty < 0.1 * sample.xsec_pb


def test_pythia_and_fastjet_are_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    generate("monojet-dm", 5, tmp_path / "events.root", seed=1, settings=FAST)
    assert capfd.readouterr() == ("", "")


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputValueError, match="does not decay to dark matter"):
        generate("monojet-dm", 5, tmp_path / "events.root", seed=1, settings={"mediator_mass": 100, "dm_mass": 80})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (("z-nunu", 10, 1), UnknownNameError, r"unknown process 'z-nunu'\. Did you mean z-nunu-jets\?"),
        (("qcd-dijets", 0, 1), InputValueError, r"qcd-dijets: events: 0 is not above 0"),
        (("qcd-dijets", 10, -1), InputValueError, r"qcd-dijets: seed: -1 is below 0"),
    ],
)
def test_bad_requests_are_refused_before_any_work(
    request_: tuple[str, int, int], error: type[Exception], message: str, tmp_path: Path
) -> None:
    process, events, seed = request_
    with pytest.raises(error, match=message):
        generate(process, events, tmp_path / "events.root", seed=seed)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "events.root"
    file.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"events\.root: exists already"):
        generate("qcd-dijets", 5, file, seed=1)
    assert file.read_bytes() == b"mine"
