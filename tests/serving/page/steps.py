"""What a person does at the page, and what is written there."""

import csv
import io
from collections.abc import Callable

from playwright.sync_api import Page, expect

Visit = Callable[..., Page]
"""Opens the page; takes what Browser.new_context takes."""

CLASSIFY = "**/v1/models/small:classify"
EXPLAIN = "**/v1/models/small:explain"
MARKUP = """<img src=x onerror="window.hit = 1"> good <script>window.hit = 1</script>"""


def classify(page: Page, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Classify").click()


def classified(page: Page, text: str) -> None:
    classify(page, text)
    expect(page.locator("#words")).to_have_text(text)


def choose(page: Page, name: str, content: bytes) -> None:
    page.get_by_role("radio", name="CSV file").check()
    page.get_by_label("Choose a CSV file").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


def drop(page: Page, name: str, content: bytes) -> None:
    """Let go of a file over the page."""
    carried = page.evaluate_handle(
        """([name, bytes]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], name));
            return carried;
        }""",
        [name, list(content)],
    )
    page.dispatch_event("main", "dragover", {"dataTransfer": carried})
    page.dispatch_event("main", "drop", {"dataTransfer": carried})


def written(rows: list[list[str]]) -> bytes:
    """CSV as a spreadsheet writes it."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def downloaded(page: Page) -> tuple[str, list[list[str]]]:
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    content = download.value.path().read_bytes()
    assert content.startswith("\ufeff".encode())
    return download.value.suggested_filename, list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def percent(share: float) -> str:
    return "> 99.9\xa0%" if share > 0.9995 else "< 0.1\xa0%" if share < 0.0005 else f"{100 * share:.1f}\xa0%"
