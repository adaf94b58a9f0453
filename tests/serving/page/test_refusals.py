"""Whatever is refused is said in a sentence, and the next text is answered."""

import pytest
from playwright.sync_api import Route, expect
from serving.page.steps import (
    CLASSIFY,
    EXPLAIN,
    Visit,
    choose,
    classified,
    classify,
)
from serving.running import Running

pytestmark = pytest.mark.slow


def test_a_busy_endpoint_is_asked_again_for_many_texts_and_named_for_one(visit: Visit) -> None:
    page = visit()
    refusal = {"status": 429, "headers": {"Retry-After": "1"}, "json": {"error": "the queue is full"}}
    page.route(CLASSIFY, lambda route: route.fulfill(**refusal), times=2)
    classify(page, "good")
    expect(page.get_by_role("alert")).to_have_text("The endpoint is busy: try again in 1 s.")
    page.get_by_role("radio", name="A text a line").check()
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#waiting")).to_have_text("The endpoint is busy: trying again in 1 s.")
    expect(page.get_by_role("status")).to_have_text("1 text classified.")
    expect(page.get_by_role("alert")).to_be_empty()
    expect(page.locator("#waiting")).to_be_empty()


def test_a_text_over_the_limit_is_refused_in_the_words_of_the_endpoint(visit: Visit, server: Running) -> None:
    text = "good " * 40_000
    page = visit()
    with page.expect_response(CLASSIFY) as refused:
        classify(page, text)
    assert refused.value.status in (413, 422)
    said = server.post("/v1/models/small:classify", {"texts": [text], "top_k": 2}).json()["error"]
    expect(page.get_by_role("alert")).to_contain_text(said[1:])
    classified(page, "good")
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_body_over_the_limit_is_refused_and_the_next_one_answered(visit: Visit) -> None:
    page = visit()
    choose(page, "huge.csv", b"text\nbad\n" + b"\x01" * 1_500_000)  # each of them six bytes of JSON
    with page.expect_response(lambda response: response.status == 413):
        page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("Rows 2 to 2 were not classified: ")
    expect(page.locator("#batch-title")).to_have_text("1 of 2 texts")
    page.get_by_role("radio", name="One text").check()
    classified(page, "good")
    expect(page.get_by_role("alert")).to_be_empty()


def test_the_network_may_go_and_come_back(visit: Visit) -> None:
    page = visit()
    classified(page, "good")
    page.context.set_offline(True)
    classify(page, "bad")
    expect(page.get_by_role("alert")).to_have_text("The endpoint cannot be reached: check the network, then try again.")
    page.context.set_offline(False)
    classified(page, "bad")
    expect(page.get_by_role("alert")).to_be_empty()


def test_an_answer_without_json_is_a_sentence_too(visit: Visit) -> None:
    page = visit()
    page.route(CLASSIFY, lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"), times=1)
    classify(page, "good")
    expect(page.get_by_role("alert")).to_have_text("The endpoint refused the request with HTTP status 502.")
    classified(page, "good")


def test_the_answer_stays_when_its_words_cannot_be_weighed(visit: Visit) -> None:
    page = visit()
    page.route(EXPLAIN, lambda route: route.fulfill(status=503, json={"error": "the deadline has passed"}), times=1)
    classify(page, "good")
    expect(page.get_by_role("alert")).to_have_text("The words could not be weighed: the deadline has passed.")
    expect(page.locator("#label")).to_have_text("good")
    expect(page.locator("#weighing")).to_be_hidden()
    expect(page.locator("#words")).to_be_hidden()


def test_a_key_is_asked_for_when_the_endpoint_wants_one_and_forgotten_on_reload(visit: Visit) -> None:
    page = visit()

    def locked(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer sesame":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": "a key is needed"})

    page.context.route("**/v1/**", locked)
    expect(page.get_by_label("API key")).to_be_hidden()
    classify(page, "good")
    expect(page.get_by_role("alert")).to_contain_text("This endpoint asks for an API key")
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
    expect(page.get_by_role("alert")).to_contain_text("This endpoint asks for an API key")
