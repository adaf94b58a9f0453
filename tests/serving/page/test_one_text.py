"""One text: typed, classified, explained, and given feedback."""

import re

import pytest
from playwright.sync_api import Route, expect
from serving.page.actions import (
    CLASSIFY,
    EXPLAIN,
    Visit,
    classify,
    classify_and_wait,
    percent,
)
from serving.server_process import ServerProcess

pytestmark = pytest.mark.slow


def test_the_page_can_be_used_with_the_keyboard_only(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_label("Model")).to_be_hidden()
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name="One text")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Texts, one per line")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Text", exact=True)).to_be_focused()
    page.keyboard.type("word1 good word2")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#label")).to_have_text("good")
    expect(page.get_by_role("status")).to_contain_text("good, ")
    expect(page.get_by_label("Text", exact=True)).to_be_focused()

    page.keyboard.press("Control+A")
    page.keyboard.type("word1 bad word2")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Classify")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#label")).to_have_text("bad")
    expect(page.locator("#words")).to_have_text("word1 bad word2")

    for control in ("#words", "#words-table summary", "#feedback-yes"):
        page.keyboard.press("Tab")
        expect(page.locator(control)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#thanks")).to_be_focused()
    expect(page.locator("#thanks")).to_contain_text("the correct label is bad")


def test_label_and_probabilities_are_those_of_the_endpoint(visit: Visit, server: ServerProcess) -> None:
    text = "word1 good word2 word3"
    answer = server.post("/v1/models/small:classify", {"texts": [text], "top_k": 2}).json()
    prediction = answer["predictions"][0]
    page = visit()
    classify_and_wait(page, text)
    assert page.locator("#label").inner_text() == prediction["label"] == "good"
    assert page.locator("#score").inner_text() == percent(prediction["score"])
    assert page.locator("#by-model").inner_text() == "small"
    assert page.locator("#by-version").inner_text() == answer["version"]
    assert re.fullmatch(r"[\d.,]+\xa0m?s", page.locator("#latency").inner_text())
    expect(page.locator("#truncated-note")).to_be_hidden()
    expect(page.locator("#threshold-note")).to_be_hidden()

    rows = page.locator("#bars li")
    assert rows.locator(".name").all_inner_texts() == [top["label"] for top in prediction["top"]]
    assert rows.locator(".value").all_inner_texts() == [percent(top["score"]) for top in prediction["top"]]
    shares = rows.locator(".fill").evaluate_all("fills => fills.map(fill => parseFloat(fill.style.width) / 100)")
    assert shares == pytest.approx([top["score"] for top in prediction["top"]], abs=1e-4)


def test_an_example_is_classified_with_one_click(visit: Visit) -> None:
    page = visit()
    page.get_by_role("radio", name="CSV file").check()
    example = page.locator("#examples button").last
    text = example.inner_text()
    example.click()
    expect(page.locator("#words")).to_have_text(text)
    expect(page.get_by_label("Text", exact=True)).to_have_value(text)
    expect(page.locator("#examples button")).to_have_count(2)
    expect(page.locator("#examples")).to_be_hidden()


def test_words_that_are_evidence_for_and_against_the_label_are_highlighted(visit: Visit, server: ServerProcess) -> None:
    text = "\N{FILM PROJECTOR} word1 good word2 \N{WOMAN}\u200d\N{GIRL}\n\nbad good \u00e9"
    explanation = server.post("/v1/models/small:explain", {"text": text, "label": "good"}).json()
    strongest = max(abs(word["contribution"]) for word in explanation["words"])
    relevant = [word for word in explanation["words"] if abs(word["contribution"]) >= 0.05 * strongest]
    page = visit()
    classify_and_wait(page, text)
    expect(page.locator("#label")).to_have_text("good")
    assert page.locator("#words").text_content() == text

    marks = page.locator("#words mark")
    assert marks.all_inner_texts() == [text[word["start"] : word["end"]] for word in relevant]
    sides = marks.evaluate_all("marks => marks.map(mark => mark.className)")
    assert sides == ["for" if word["contribution"] > 0 else "against" for word in relevant]
    assert {("good", "for"), ("bad", "against")} <= set(zip(marks.all_inner_texts(), sides, strict=True))
    style = "mark => getComputedStyle(mark).textDecorationStyle"
    assert page.locator("mark.for").last.evaluate(style) == "solid"
    assert page.locator("mark.against").last.evaluate(style) == "wavy"

    expect(page.locator("#words-summary")).to_contain_text("Strongest evidence against good: “bad”")
    page.get_by_text("Words and contributions as a table").click()
    expect(page.locator("#method")).to_contain_text(explanation["method"])
    listed = page.locator("#words-table tbody tr").evaluate_all("rows => rows.map(row => row.cells[1].textContent)")
    contributions = sorted((word["contribution"] for word in explanation["words"]), key=abs, reverse=True)
    assert [float(value.replace("−", "-")) for value in listed] == pytest.approx(contributions, abs=0.0051)


def test_a_truncated_text_is_reported(visit: Visit, server: ServerProcess) -> None:
    (described,) = server.get("/v1/models").json()["models"]
    page = visit()
    classify_and_wait(page, "good " * described["max_tokens"] + "bad")
    note = f"The text is longer than the model's maximum ({described['max_tokens']} tokens): its end was ignored."
    expect(page.get_by_text(note)).to_be_visible()
    assert "bad" not in page.locator("#words mark").all_inner_texts()


def test_words_are_explained_by_the_version_that_classified_the_text(visit: Visit) -> None:
    page = visit()
    with page.expect_response(CLASSIFY) as answer, page.expect_request(EXPLAIN) as explanation:
        classify_and_wait(page, "good")
    assert explanation.value.headers["x-request-id"] == answer.value.json()["request_id"]


def test_threshold_several_models_and_many_labels_are_shown(visit: Visit) -> None:
    """The responses are mocked: a decision threshold, several models, and more labels than fit."""
    page = visit()
    labels = [f"label {n}" for n in range(12)]
    models = [
        {
            "name": name,
            "version": "1" * 64,
            "channel": "champion",
            "labels": labels,
            "max_tokens": 64,
            "test_f1": 0.97449,
        }
        for name in ("small", "wide")
    ]
    top = [{"label": label, "score": 0.1 - n / 1000} for n, label in enumerate(labels)]
    prediction = {**top[1], "truncated": False, "top": [top[1], top[0], *top[2:]]}
    answer = {"model": "wide", "version": "1" * 64, "request_id": "1", "predictions": [prediction]}
    explanation = {**answer, **top[1], "truncated": False, "method": "leave-one-out", "words": []}
    page.route("**/v1/models", lambda route: route.fulfill(json={"models": models}))
    page.route("**/v1/models/wide:classify", lambda route: route.fulfill(json=answer))
    page.route("**/v1/models/wide:explain", lambda route: route.fulfill(json=explanation))
    page.reload()
    page.get_by_label("Model").select_option("wide")
    described = "version 111111111111…, 12 labels, at most 64 tokens, F1 0.974 on the test texts"
    expect(page.locator("#about-model")).to_have_text(described)
    classify(page, "some text")
    note = "label 0 is more probable, but the model's decision threshold selects label 1."
    expect(page.get_by_text(note)).to_be_visible()
    expect(page.locator("#words-summary")).to_have_text("No single word changes this prediction.")
    expect(page.locator("#bars li")).to_have_count(10)
    page.get_by_text("2 more labels").click()
    expect(page.locator("#more-bars li").last).to_contain_text("label 11")


def test_feedback_names_the_request_and_the_correct_label(visit: Visit) -> None:
    page = visit()
    with page.expect_response(CLASSIFY) as answer:
        classify_and_wait(page, "good")
    expect(page.get_by_label("No, the correct label is").locator("option")).to_have_text(["bad"])
    with page.expect_response("**/v1/feedback") as accepted:
        page.get_by_role("button", name="Send").click()
    assert accepted.value.status == 202
    request_id = answer.value.json()["request_id"]
    sent = {"model": "small", "request_id": request_id, "index": 0, "label": "bad"}
    assert accepted.value.request.post_data_json == sent
    expect(page.locator("#thanks")).to_contain_text("the correct label is bad")
    expect(page.get_by_role("button", name="Send")).to_be_hidden()

    classify_and_wait(page, "bad")
    page.route("**/v1/feedback", lambda route: route.fulfill(status=503, json={"error": "the store is away"}), times=1)
    page.get_by_role("button", name="Yes, bad").click()
    expect(page.get_by_role("alert")).to_have_text("The feedback was not recorded: the store is away.")
    page.get_by_role("button", name="Yes, bad").click()
    expect(page.locator("#thanks")).to_contain_text("the correct label is bad")


def test_the_result_of_an_earlier_text_does_not_replace_that_of_a_later_one(visit: Visit) -> None:
    page = visit()
    held: list[Route] = []
    page.route(CLASSIFY, lambda route: held.append(route), times=1)
    with page.expect_request(CLASSIFY):
        classify(page, "bad")
    with page.expect_event("requestfailed", lambda request: request.url.endswith(":classify")):
        classify(page, "good")
    expect(page.locator("#words")).to_have_text("good")
    expect(page.locator("#label")).to_have_text("good")
    expect(page.get_by_role("alert")).to_be_empty()
