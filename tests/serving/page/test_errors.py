"""Every error is reported in one sentence, and the next text is classified."""

import pytest
from playwright.sync_api import Route, expect
from serving.page.actions import (
    CLASSIFY,
    EXPLAIN,
    Visit,
    choose_file,
    classify,
    classify_and_wait,
)
from serving.server_process import ServerProcess

pytestmark = pytest.mark.slow


def test_an_overloaded_endpoint_is_retried_for_many_texts_and_reported_for_one(visit: Visit) -> None:
    page = visit()
    refusal = {"status": 429, "headers": {"Retry-After": "1"}, "json": {"error": "the queue is full"}}
    page.route(CLASSIFY, lambda route: route.fulfill(**refusal), times=2)
    classify(page, "good")
    expect(page.get_by_role("alert")).to_have_text("The endpoint is busy: try again in 1 s.")
    page.get_by_role("radio", name="Lines of text").check()
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#waiting")).to_have_text("The endpoint is busy: trying again in 1 s.")
    expect(page.get_by_role("status")).to_have_text("1 text classified.")
    expect(page.get_by_role("alert")).to_be_empty()
    expect(page.locator("#waiting")).to_be_empty()


def test_a_text_over_the_limit_is_reported_with_the_message_of_the_endpoint(
    visit: Visit, server: ServerProcess
) -> None:
    text = "good " * 40_000
    page = visit()
    with page.expect_response(CLASSIFY) as response:
        classify(page, text)
    assert response.value.status in (413, 422)
    message = server.post("/v1/models/small:classify", {"texts": [text], "top_k": 2}).json()["error"]
    expect(page.get_by_role("alert")).to_contain_text(message[1:])
    classify_and_wait(page, "good")
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_body_over_the_limit_is_reported_and_the_next_text_is_classified(visit: Visit) -> None:
    page = visit()
    choose_file(page, "huge.csv", b"text\nbad\n" + b"\x01" * 1_500_000)  # each character is six bytes of JSON
    with page.expect_response(lambda response: response.status == 413):
        page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("Rows 2 to 2 were not classified: ")
    expect(page.locator("#batch-title")).to_have_text("1 of 2 texts")
    page.get_by_role("radio", name="One text").check()
    classify_and_wait(page, "good")
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_lost_network_is_reported_until_it_returns(visit: Visit) -> None:
    page = visit()
    classify_and_wait(page, "good")
    page.context.set_offline(True)
    classify(page, "bad")
    expect(page.get_by_role("alert")).to_have_text("The endpoint cannot be reached: check the network, then try again.")
    page.context.set_offline(False)
    classify_and_wait(page, "bad")
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_response_without_json_is_reported_in_one_sentence(visit: Visit) -> None:
    page = visit()
    page.route(CLASSIFY, lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"), times=1)
    classify(page, "good")
    expect(page.get_by_role("alert")).to_have_text("The endpoint refused the request with HTTP status 502.")
    classify_and_wait(page, "good")


def test_the_prediction_stays_if_its_words_cannot_be_explained(visit: Visit) -> None:
    page = visit()
    page.route(EXPLAIN, lambda route: route.fulfill(status=503, json={"error": "the deadline has passed"}), times=1)
    classify(page, "good")
    expect(page.get_by_role("alert")).to_have_text(
        "The word contributions could not be computed: the deadline has passed."
    )
    expect(page.locator("#label")).to_have_text("good")
    expect(page.locator("#explaining")).to_be_hidden()
    expect(page.locator("#words")).to_be_hidden()


def test_a_key_is_requested_if_the_endpoint_requires_one_and_is_cleared_on_reload(visit: Visit) -> None:
    page = visit()

    def require_key(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer sesame":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": "a key is needed"})

    page.context.route("**/v1/**", require_key)
    expect(page.get_by_label("API key")).to_be_hidden()
    classify(page, "good")
    expect(page.get_by_role("alert")).to_contain_text("This endpoint requires an API key")
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This API key is not accepted.")
    page.get_by_label("API key").fill("sesame")
    page.keyboard.press("Enter")
    expect(page.locator("#words")).to_have_text("good")
    page.get_by_role("button", name="Yes, good").click()
    expect(page.locator("#thanks")).to_be_visible()

    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    page.reload()
    expect(page.get_by_label("API key")).to_have_value("")
    expect(page.get_by_role("alert")).to_contain_text("This endpoint requires an API key")
