"""The page of a profile in Chromium: no requests, accessible in both colour schemes, on phones and printed."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner
from playwright.sync_api import Browser

from textgate.pipelines.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Page of a source with a finding of every section."""
    folder = tmp_path_factory.mktemp("page")
    lines = ["split,text,label"]
    for index in range(120):
        label = ("a label of some length", "Spam", "spam")[index % 3]
        split = "test" if index % 4 == 0 else "train"
        lines.append(
            f"{split},a text <b>number</b> {index // 2} by a.b@example.com about {'word ' * (index % 9)},{label}"
        )
    (folder / "source.csv").write_text("\n".join([*lines, "train,,spam", "train,no label,"]), "utf-8")
    path = folder / "page.html"
    result = CliRunner().invoke(main, ["inspect", str(folder / "source.csv"), "--page", str(path)])
    assert result.exit_code == 0, result.output
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_requested(browser: Browser, file: Path, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    assert page.locator("figure").evaluate_all("all => all.map(figure => figure.id)") == ["classes", "lengths"]
    assert page.locator("nav a").count() == 9
    violations = Axe().run(page).response["violations"]
    assert [(rule["id"], rule["nodes"]) for rule in violations if rule["impact"] in ("serious", "critical")] == []
    assert requests == [file.as_uri()]


@pytest.mark.parametrize("width", [320, 690])
def test_the_page_fits_a_phone_and_a_sheet_of_paper(browser: Browser, file: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(file.as_uri())
    if width == 690:
        page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == width
