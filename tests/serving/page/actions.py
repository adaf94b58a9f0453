"""Actions of a user on the page, and the formats that it shows."""

import csv
import io
from collections.abc import Callable

from playwright.sync_api import Page, expect

Visit = Callable[..., Page]
"""Function that opens the page; it has the arguments of Browser.new_context."""

CLASSIFY = "**/v1/models/small:classify"
EXPLAIN = "**/v1/models/small:explain"
MARKUP = """<img src=x onerror="window.hit = 1"> good <script>window.hit = 1</script>"""


def classify(page: Page, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Classify").click()


def classify_and_wait(page: Page, text: str) -> None:
    classify(page, text)
    expect(page.locator("#words")).to_have_text(text)


def choose_file(page: Page, name: str, content: bytes) -> None:
    page.get_by_role("radio", name="CSV file").check()
    page.get_by_label("Choose a CSV file").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


def drop_file(page: Page, name: str, content: bytes) -> None:
    """Drop a file on the page."""
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name));
            return transfer;
        }""",
        [name, list(content)],
    )
    page.dispatch_event("main", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})


def to_csv(rows: list[list[str]]) -> bytes:
    """Return rows as CSV with a byte order mark, as a spreadsheet writes it."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def download_csv(page: Page) -> tuple[str, list[list[str]]]:
    """Download the table; return the name of the file and its rows."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    content = download.value.path().read_bytes()
    assert content.startswith("\ufeff".encode())
    return download.value.suggested_filename, list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def percent(share: float) -> str:
    """Return a share as the page shows it."""
    return "> 99.9\xa0%" if share > 0.9995 else "< 0.1\xa0%" if share < 0.0005 else f"{100 * share:.1f}\xa0%"
