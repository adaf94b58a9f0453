"""The report in Chromium, opened as a file: no requests, no errors, accessible, on phones, in dark mode and printed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from report.sample_run import report_inputs

from textgate.components.report.report import write_report
from textgate.components.report.text_map import MAX_DOTS

pytestmark = pytest.mark.slow

PLOTS = [
    *("roc", "precision-recall", "reliability", "confidence", "slices-plot", "robustness-plot", "classes", "lengths"),
    *("map-classes", "map-errors", "training-loss", "training-validation-f1", "learning-curve"),
]
LABELS = {"two": ("negative", "positive"), "many": tuple(f"a label of some length, number {n}" for n in range(12))}
BINNED = "binned"
"""Report with so many texts that the map shows hexagonal bins."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    for name, labels in LABELS.items():
        write_report(folder / f"{name}.html", report_inputs(400, labels))
    write_report(folder / f"{BINNED}.html", report_inputs(MAX_DOTS + 1))
    return {path.stem: path for path in folder.iterdir()}


@dataclass
class Viewer:
    """Browser that records the requests and the problems of the pages it opens."""

    browser: Browser
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, file: Path, **options: Any) -> Page:
        page = self.browser.new_page(**options)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(file.as_uri())
        return page


@pytest.fixture
def viewer(browser: Browser) -> Iterator[Viewer]:
    yield Viewer(browser)
    for context in browser.contexts:
        context.close()


@pytest.mark.parametrize("name", LABELS)
def test_the_page_makes_no_requests_and_every_plot_is_visible(
    viewer: Viewer, files: dict[str, Path], name: str
) -> None:
    page = viewer.open(files[name])
    assert page.locator("figure").evaluate_all("figures => figures.map(figure => figure.id)") == PLOTS
    for plot in PLOTS:
        box = page.locator(f"#{plot} > svg").bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 60, plot
        marks = page.locator(f"#{plot} > svg :is(.line, .bar, .dot)")
        assert marks.count() > 0, plot
        coloured = marks.evaluate_all(
            "marks => marks.every(mark => getComputedStyle(mark).getPropertyValue('--series'))"
        )
        assert coloured, f"{plot} has a mark without a colour"
    for link in page.locator("nav a").all():
        link.click()
    assert page.locator("#map-errors .dot title").first.text_content()
    assert viewer.requests == [files[name].as_uri()]
    assert viewer.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*LABELS, BINNED])
def test_axe_finds_nothing_serious(viewer: Viewer, files: dict[str, Path], name: str, scheme: str) -> None:
    page = viewer.open(files[name], color_scheme=scheme)
    page.locator("summary").click()
    violations = Axe().run(page).response["violations"]
    assert [(rule["id"], rule["nodes"]) for rule in violations if rule["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("width", [320, 360])
@pytest.mark.parametrize("name", LABELS)
def test_the_page_fits_a_phone(viewer: Viewer, files: dict[str, Path], name: str, width: int) -> None:
    page = viewer.open(files[name], viewport={"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    sizes = page.locator("figure svg[role=img] text:not(.small)").evaluate_all(
        "texts => texts.map(text => text.getBoundingClientRect().height)"
    )
    assert min(sizes) > 9


@pytest.mark.parametrize("name", LABELS)
def test_printed_nothing_is_cut_off_or_collapsed(viewer: Viewer, files: dict[str, Path], name: str) -> None:
    page = viewer.open(files[name], viewport={"width": 690, "height": 1000}, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 690
    assert page.locator("details pre").evaluate("recipe => recipe.checkVisibility({contentVisibilityAuto: true})")
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF")
