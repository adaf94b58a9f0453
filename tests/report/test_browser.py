"""The page in a real Chromium, opened as a file: alone, without error, for narrow screens, dark rooms and paper."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from report.made import whole_run

from textgate.components.report.report import write_report

pytestmark = pytest.mark.slow

PLOTS = [
    *("roc", "precision-recall", "reliability", "confidence", "slices-plot", "robustness-plot", "classes", "lengths"),
    *("map-classes", "map-errors", "training-loss", "training-validation-f1", "learning-curve"),
]
LABELS = {"two": ("negative", "positive"), "many": tuple(f"a label of some length, number {n}" for n in range(12))}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    for name, labels in LABELS.items():
        write_report(folder / f"{name}.html", **whole_run(400, labels))
    return {name: folder / f"{name}.html" for name in LABELS}


@dataclass
class Desk:
    """Opens reports, and keeps what was asked for and what went wrong there."""

    browser: Browser
    asked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, file: Path, **options: Any) -> Page:
        page = self.browser.new_page(**options)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(file.as_uri())
        return page


@pytest.fixture
def desk(browser: Browser) -> Iterator[Desk]:
    opened = Desk(browser)
    yield opened
    for context in browser.contexts:
        context.close()


@pytest.mark.parametrize("name", LABELS)
def test_it_asks_for_nothing_but_itself_and_every_plot_is_seen(desk: Desk, files: dict[str, Path], name: str) -> None:
    page = desk.open(files[name])
    assert page.locator("figure").evaluate_all("found => found.map(figure => figure.id)") == PLOTS
    for plot in PLOTS:
        box = page.locator(f"#{plot} > svg").bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 60, plot
        marks = page.locator(f"#{plot} > svg :is(.line, .bar, .dot)")
        assert marks.count() > 0, plot
        seen = marks.evaluate_all("marks => marks.every(mark => getComputedStyle(mark).getPropertyValue('--series'))")
        assert seen, f"{plot} has a mark without a colour"
    for link in page.locator("nav a").all():
        link.click()
    assert page.locator("#map-errors .dot title").first.text_content()
    assert desk.asked == [files[name].as_uri()]
    assert desk.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", LABELS)
def test_axe_finds_nothing_serious(desk: Desk, files: dict[str, Path], name: str, scheme: str) -> None:
    page = desk.open(files[name], color_scheme=scheme)
    page.locator("summary").click()
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], rule["nodes"]) for rule in found if rule["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("width", [320, 360])
@pytest.mark.parametrize("name", LABELS)
def test_nothing_is_wider_than_a_phone(desk: Desk, files: dict[str, Path], name: str, width: int) -> None:
    page = desk.open(files[name], viewport={"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    sizes = page.locator("figure svg[role=img] text:not(.small)").evaluate_all(
        "texts => texts.map(text => text.getBoundingClientRect().height)"
    )
    assert min(sizes) > 9


@pytest.mark.parametrize("name", LABELS)
def test_on_paper_nothing_is_cut_off_or_folded(desk: Desk, files: dict[str, Path], name: str) -> None:
    page = desk.open(files[name], viewport={"width": 690, "height": 1000}, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 690
    assert page.locator("details pre").evaluate("recipe => recipe.checkVisibility({contentVisibilityAuto: true})")
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF")
