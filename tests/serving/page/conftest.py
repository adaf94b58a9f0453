"""A Chromium that opens the page of a real server."""

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
from serving.page.actions import Visit
from serving.server_process import ServerProcess

SECONDS = 20.0
expect.set_options(timeout=1000 * SECONDS)


@pytest.fixture
def visit(browser: Browser, server: ServerProcess) -> Iterator[Visit]:
    """Return a function that opens the page; fail if the page logs an error or loads something from another origin."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        # Chromium logs this for every error status, which the tests provoke.
        expected = message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not expected:
            problems.append(message.text)

    def on_request(request: Request) -> None:
        if not request.url.startswith((f"{server.http}/", "data:", "blob:")):
            problems.append(f"requested {request.url}")

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
