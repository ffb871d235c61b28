from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from darkop_dist.errors import OutputError
from darkop_dist.execution.timeline import Timeline
from darkop_dist.report.content import Candidate, Cutflow, CutStep, LedgerRow, PageInput, PassOverEvents, SignalLimit
from darkop_dist.report.cutflow import cutflow_tables
from darkop_dist.report.digits import ABSENT
from darkop_dist.report.headline import limit_sentence
from darkop_dist.report.page import page_html, write_page
from darkop_dist.report.style import drawable

SECTIONS = (
    "limits",
    "fit",
    "cutflow",
    "observables",
    "n-1",
    "scores",
    "p-values",
    "candidates",
    "ledger",
    "timeline",
    "provenance",
)
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Reads a page and checks that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [
            value for _, attributes in self.attributes for key, value in attributes.items() if key == name and value
        ]


@pytest.fixture(scope="module")
def index(full_page: PageInput, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(full_page, tmp_path_factory.mktemp("run") / "report")


def test_every_section_and_picture_is_there(index: Path) -> None:
    text = index.read_text(encoding="utf-8")
    page = Page(text)
    assert set(SECTIONS) <= set(page.values("id"))
    assert 'class="nothing"' not in text
    pictures = page.values("src")
    assert len(pictures) == 11
    for name in pictures:
        assert (index.parent / name).stat().st_size > 5000
        assert (index.parent / name).with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert sorted(item.name for item in index.parent.parent.iterdir()) == ["report"]


def test_nothing_is_loaded_from_elsewhere(index: Path) -> None:
    page = Page(index.read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.attributes}.isdisjoint({"script", "link", "iframe", "object", "base"})
    for address in page.values("src") + page.values("href"):
        assert re.match(r"^(img/[\w.-]+|#[\w-]+)$", address), address
        if address.startswith("#"):
            assert address[1:] in page.values("id")
    assert "url(" not in index.read_text(encoding="utf-8")


def test_numbers_and_warnings_are_on_the_page(index: Path) -> None:
    text = index.read_text(encoding="utf-8")
    for part in (
        "goodness of fit p = 2.1e-9", "observed 95% CL upper limit on the signal strength is μ &lt; 1.21", "0.31 ± 0.52",
        "an excess as large at any of these levels has p = ", "1722401887", "2.10\u00d710⁻⁹", "1\u202f750\u202f000", "1 chunk failed: truncated file", "1 min 23 s", "\N{GREEK SMALL LETTER ALPHA} = 0.001",
    ):  # fmt: skip
        assert part in text, part


def test_an_empty_page_says_what_is_missing(tmp_path: Path) -> None:
    text = write_page(PageInput("Nothing yet"), tmp_path / "report").read_text(encoding="utf-8")
    page = Page(text)
    assert set(SECTIONS) <= set(page.values("id"))
    assert text.count('class="nothing"') == len(SECTIONS)
    assert page.values("src") == []
    assert "No limit was computed in this run." in text


def test_the_time_is_shown_with_its_sentence(index: Path, full_page: PageInput) -> None:
    text = index.read_text(encoding="utf-8")
    assert (
        "<figcaption>62% of the 2 workers&#39; time went into reading: &lt;faster storage&gt; would help. Within"
        in text
    )
    assert "performance report" not in text
    assert full_page.events_pass is not None
    linked = page_html(
        PageInput("x", events_pass=replace(full_page.events_pass, dask_report="../dask-report.html")), ()
    )
    assert '<a href="../dask-report.html">' in linked
    assert "<p>62% of the 2 workers" in linked


def test_text_is_escaped_everywhere() -> None:
    evil = '<script>alert("x")</script>'
    page = PageInput(
        evil, evil, {evil: evil}, (evil,), (evil,), cutflows=(Cutflow(evil, evil, (CutStep(evil, 1, 1.0),)),),
        limits=(SignalLimit(evil, method=evil),), candidates=(Candidate(evil, 1, 1, 1, 1.0, observables={evil: 1.0}),),
        ledger=(LedgerRow(evil, 1, 1, 1, 0, 1, 1, 0, 1.0, True, evil),),
        events_pass=PassOverEvents(Timeline(1.0, 1), evil, evil, evil),
    )  # fmt: skip
    text = page_html(page, ())
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 15
    Page(text)


def test_an_evil_name_can_be_drawn(full_page: PageInput, tmp_path: Path) -> None:
    samples = tuple(replace(sample, label=f"<script>${sample.name}_") for sample in full_page.samples)
    page = replace(full_page, samples=samples, scores=None, calibration=None, fit=None, limits=(), candidates=())
    index = write_page(replace(page, observables=page.observables[:1]), tmp_path / "report")
    svg = next((index.parent / "img").glob("*.svg")).read_text(encoding="utf-8")
    assert "<script" not in svg


def test_of_many_distributions_the_important_ones_are_in_view(full_page: PageInput, tmp_path: Path) -> None:
    recoil, angle = full_page.observables
    observables = (recoil, *(replace(recoil, title=f"Recoil {number}", important=False) for number in range(11)), angle)
    page = replace(
        full_page, observables=observables, scores=None, calibration=None, fit=None, limits=(), candidates=()
    )
    index = write_page(page, tmp_path / "report")
    text = index.read_text(encoding="utf-8")
    found = Page(text)
    folded = [attributes["src"] for _, attributes in found.attributes if attributes.get("loading") == "lazy"]
    assert [tag for tag, _ in found.attributes].count("details") == 1
    assert re.findall(r"<summary>(.*?)</summary>", text) == ["signal: 11 more distributions"]
    assert len(folded) == 11
    in_view = [name for name in found.values("src") if name not in folded and "timeline" not in name]
    assert len(in_view) == 2
    for name in (*folded, *in_view):
        assert (index.parent / name).stat().st_size > 5000
        assert (index.parent / name).with_suffix(".png").exists() == (name in in_view)
    for address in found.values("href"):
        assert address.startswith("#") or (index.parent / address).exists()


def test_a_page_is_not_replaced_without_being_told(tmp_path: Path) -> None:
    first = write_page(PageInput("First"), tmp_path / "report")
    with pytest.raises(OutputError, match=r"exists already.*--force"):
        write_page(PageInput("Second"), first.parent)
    assert "First" in first.read_text(encoding="utf-8")
    write_page(PageInput("Second"), first.parent, force=True)
    assert "Second" in first.read_text(encoding="utf-8")
    assert [item.name for item in tmp_path.iterdir()] == ["report"]


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"absent does not exist\. Make it first"):
        write_page(PageInput("x"), tmp_path / "absent" / "report")
    (tmp_path / "file").write_text("taken")
    with pytest.raises(OutputError, match=r"file does not exist\. Make it first"):
        write_page(PageInput("x"), tmp_path / "file" / "report")


def test_a_failure_leaves_nothing_behind(full_page: PageInput, tmp_path: Path) -> None:
    assert full_page.calibration is not None
    broken = replace(PageInput("x"), calibration=replace(full_page.calibration, fraction=np.zeros(3)))
    with pytest.raises(ValueError, match="shape"):
        write_page(broken, tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_cutflow_efficiencies_are_weighted() -> None:
    steps = (CutStep("all", 100, 50.0), CutStep("a", 30, 20.0), CutStep("b", 0, 0.0), CutStep("c", 0, 0.0))
    (table,) = cutflow_tables([Cutflow("sim", "SR", steps, scale=2.0)])
    first, second, _, last = [cells[0] for _, cells in table.rows]
    assert (first.weighted, first.step, first.total) == ("100", ABSENT, "100%")
    assert (second.weighted, second.events, second.step, second.total) == ("40", "30", "40.0%", "40.0%")
    assert last.step == ABSENT


def test_limits_in_words() -> None:
    sentence = limit_sentence(SignalLimit("Z", expected=(1.0, 1.5, 2.0, 3.0, 4.0), method="asymptotic"))
    assert "there is no observed limit at 95% CL" in sentence
    assert "expected 95% CL upper limit is μ < 2" in sentence
    assert sentence.endswith("Method: asymptotic.")
    assert limit_sentence(SignalLimit("Z")) == "Z: no limit was computed."


def test_labels_that_are_no_latex_are_drawn_as_they_are() -> None:
    assert drawable(r"$\nu$") == r"$\nu$"
    assert drawable(r"$\notacommand$") == r"\$\notacommand\$"


def test_a_browser_shows_the_page(index: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("the browser chromium is not installed")
    picture = tmp_path / "page.png"
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update", "--hide-scrollbars")  # fmt: skip
    command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,2000",
               f"--screenshot={picture}", index.as_uri()]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    from matplotlib.image import imread

    pixels = imread(picture)
    assert pixels.shape[:2] == (2000, 1200)
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 100
