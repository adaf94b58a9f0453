"""Security and accessibility of the page: markup, content security policy, narrow screens, dark mode, axe."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from serving.page.actions import (
    CLASSIFY,
    EXPLAIN,
    MARKUP,
    Visit,
    choose_file,
    classify_and_wait,
    to_csv,
)
from serving.server_process import ServerProcess

pytestmark = pytest.mark.slow


def test_markup_in_a_text_or_a_file_is_shown_as_text_and_never_run(visit: Visit) -> None:
    page = visit()
    classify_and_wait(page, MARKUP)
    assert page.locator("#words").text_content() == MARKUP

    page.get_by_role("radio", name="Lines of text").check()
    page.get_by_label("Texts, one per line").fill(f"{MARKUP}\nbad")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    assert page.locator("#rows td").nth(1).evaluate("cell => cell.firstChild.textContent") == MARKUP

    choose_file(page, f"{MARKUP.replace('/', '')}.csv", to_csv([["id", MARKUP], ["1", MARKUP]]))
    expect(page.get_by_label("Text column").locator("option:checked")).to_have_text(MARKUP)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    assert page.evaluate("[window.hit, document.images.length]") == [None, 0]


def test_markup_in_a_response_is_shown_as_text_and_never_run(visit: Visit) -> None:
    page = visit()
    answered_by = {"model": "small", "version": MARKUP, "request_id": "1"}
    prediction = {"label": MARKUP, "score": 0.75, "truncated": False}
    prediction_with_top = {**prediction, "top": [{"label": MARKUP, "score": 0.75}, {"label": "other", "score": 0.25}]}
    word = {"start": 0, "end": len(MARKUP), "text": MARKUP, "contribution": 1.0}
    page.route(CLASSIFY, lambda route: route.fulfill(json={**answered_by, "predictions": [prediction_with_top]}))
    page.route(
        EXPLAIN, lambda route: route.fulfill(json={**answered_by, **prediction, "method": MARKUP, "words": [word]})
    )
    page.route("**/v1/feedback", lambda route: route.fulfill(status=422, json={"error": MARKUP}))
    classify_and_wait(page, MARKUP)
    for selector in ("#label", "#bars .name >> nth=0", "#by-version", "#words mark", "#feedback-label"):
        assert page.locator(selector).text_content() == MARKUP, selector
    for selector in ("#legend-for", "#words-summary", "#method"):
        expect(page.locator(selector)).to_contain_text(MARKUP)
    page.locator("#feedback-yes").click()
    expect(page.get_by_role("alert")).to_contain_text(MARKUP)
    assert page.evaluate("[window.hit, document.images.length]") == [None, 0]


def test_the_content_security_policy_blocks_an_inline_script(browser: Browser, server: ServerProcess) -> None:
    policy = server.get("/").headers["Content-Security-Policy"]
    assert {part.strip() for part in policy.split(";")} == {
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:"),
        *("form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'"),
    }
    page = browser.new_page()
    page.goto(f"{server.http}/")
    blocked = page.evaluate(
        """() => new Promise((resolve) => {
            addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "window.hit = 1";
            document.body.append(script);
            resolve = ((settle) => (directive) => settle([directive, window.hit]))(resolve);
        })"""
    )
    page.context.close()
    assert blocked == ["script-src-elem", None]


def states(page: Page) -> Iterator[str]:
    """Bring the page into each of its states, one after another; yield the name of each."""
    yield "empty"
    classify_and_wait(page, f"word1 good bad {MARKUP} {'long' * 100}")
    page.get_by_text("Words and contributions as a table").click()
    yield "single text"
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#thanks")).to_be_visible()
    yield "thanks"
    page.route("**/v1/models", lambda route: route.fulfill(status=401, json={"error": "a key"}), times=1)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_label("API key")).to_be_focused()
    yield "key and error"
    rows = [[str(number), f"good {'long' * 50}"] for number in range(150)]
    choose_file(page, f"{'long' * 40}.csv", to_csv([["id", "text"], *rows]))
    expect(page.locator("#preview")).to_contain_text("150 texts")
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("status")).to_have_text("150 texts classified.")
    yield "table"


def test_the_page_fits_on_a_narrow_screen(visit: Visit) -> None:
    page = visit(viewport={"width": 320, "height": 640})
    for state in states(page):
        assert page.evaluate("document.documentElement.scrollWidth") == 320, state
        classify_button = page.get_by_role("button", name="Classify").bounding_box()
        assert classify_button is not None
        assert classify_button["x"] + classify_button["width"] <= 320, state


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation_in_light_or_dark_mode(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme, reduced_motion="reduce")
    for state in states(page):
        violations = Axe().run(page).response["violations"]
        assert [
            (rule["id"], rule["nodes"]) for rule in violations if rule["impact"] in ("serious", "critical")
        ] == [], state


def test_animations_are_off_if_the_user_prefers_reduced_motion(visit: Visit) -> None:
    page = visit(reduced_motion="reduce")
    classify_and_wait(page, "good")
    assert page.locator(".fill").first.evaluate("fill => getComputedStyle(fill).transitionDuration") == "0s"
