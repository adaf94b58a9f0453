"""A real Chromium that opens the page of a running server."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
)
from serving.page.steps import Visit
from serving.running import Running

SECONDS = 20.0
expect.set_options(timeout=1000 * SECONDS)


@pytest.fixture
def visit(browser: Browser, server: Running) -> Iterator[Visit]:
    """Opens the page. Whatever a test does there: no error, nothing that the policy blocks, nothing from elsewhere."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        refused = message.text.startswith("Failed to load resource")  # what Chromium says of each refusal provoked here
        if message.type in ("error", "warning") and not refused:
            problems.append(message.text)

    def on_request(request: Request) -> None:
        if not request.url.startswith((f"{server.http}/", "data:", "blob:")):
            problems.append(f"asked {request.url}")

    def on_response(response: Response) -> None:
        if response.status >= 400 and not urlsplit(response.url).path.startswith("/v1/"):
            problems.append(f"{response.status} for {response.url}")

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(1000 * SECONDS)
        page = context.new_page()
        page.on("console", on_console)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", on_request)
        page.on("response", on_response)
        page.goto(f"{server.http}/")
        expect(page.locator("#only-model")).to_have_text("small")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
