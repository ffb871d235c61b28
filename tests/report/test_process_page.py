"""The page of a process: written by the command, complete in itself, with figures that show what they should."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("pythia8mc", reason="the extra 'generation' is not installed")

from darkop_dist.cli.app import app
from darkop_dist.generation.spectrum import Reference, Spectrum, expecting, histogram
from darkop_dist.report.process_page import spectrum_figure


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["generate", *words])
    said = str(done.exception) if done.exception and not isinstance(done.exception, SystemExit) else ""
    return done.exit_code, " ".join((done.output + said).split())


def test_the_command_writes_a_page_that_is_complete_in_itself(tmp_path: Path) -> None:
    words = ("z-nunu-jets", "--validate", "--events", "200", "--set", "mpi=off", "--output", str(tmp_path / "pages"))
    status, said = run(*words)
    assert status == 0, said
    assert re.search(r"Mass of Z: chi-square [.0-9]+ for [0-9]+ bins, p = ", said)
    page = (tmp_path / "pages" / "z-nunu-jets.html").read_text(encoding="utf-8")
    HTMLParser().feed(page)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 3
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "200 events, seed 1" in page
    assert "smallest transverse momentum of the Z" in page
    assert "arXiv:2203.11601" in page
    status, said = run(*words)
    assert status != 0
    assert "exists already. Choose another folder, or replace it with --force" in said
    assert run(*words, "--force")[0] == 0


def test_the_command_shows_the_parameters_of_a_process() -> None:
    status, said = run("compressed-susy", "--show")
    assert status == 0
    assert "splitting" in said
    assert "3 to 60 GeV" in said
    assert "higgsinos, sleptons" in said
    assert "hep-ph/0311123" in said
    assert "semivisible-jets: Semi-visible jets from a Z' to dark quarks (zprime_mass, r_inv," in run("list")[1]


def example(**more: object) -> Spectrum:
    values = np.random.default_rng(1).exponential(2.0, 500)
    found = histogram("x", "Example", "$p_T$ [GeV]", values, np.linspace(0, 10, 21))
    return Spectrum(**{**vars(expecting(found, lambda x: np.exp(-x / 2), "exponential")), **more})  # type: ignore[arg-type]


def test_a_figure_has_points_with_errors_the_expectation_and_their_ratio() -> None:
    spectrum = example()
    main, ratio = spectrum_figure(spectrum).axes
    assert main.get_ylabel() == "Entries"
    assert ratio.get_xlabel() == "$p_T$ [GeV]"
    assert {text.get_text() for text in main.get_legend().get_texts()} == {
        "exponential",
        f"Pythia 8, {spectrum.entries} entries",
    }
    (points,) = ratio.containers
    shown = np.array(points[0].get_ydata())
    filled = spectrum.values > 0
    assert shown == pytest.approx((spectrum.values / spectrum.expected)[filled])
    assert main.get_ylim()[1] > spectrum.values.max() * 1.2


def test_a_figure_shows_marks_and_measurements() -> None:
    reference = Reference(5.0, 20.0, 2.0, "CMS, |eta| < 0.5")
    figure = spectrum_figure(example(expected=np.empty(0), marks=((4.0, "edge"),), references=(reference,)))
    (main,) = figure.axes
    texts = {text.get_text() for text in main.get_legend().get_texts()}
    assert {"edge: 4", r"CMS, $|\eta|$ < 0.5"} <= texts
