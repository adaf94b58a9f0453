"""Many texts: dropped or chosen as CSV, classified in several requests, downloaded."""

import pytest
from playwright.sync_api import Route, expect
from serving.page.steps import (
    CLASSIFY,
    Visit,
    choose,
    downloaded,
    drop,
    percent,
    written,
)
from serving.running import Running

pytestmark = pytest.mark.slow

REVIEWS = [
    ["1", 'a "good" film,\r\nin two lines', "x"],
    ["2", "=1+bad", "-5"],
    ["3", "@good, ünïcode \N{WOMAN}\u200d\N{GIRL}", "+x"],
]


def test_a_dropped_csv_comes_back_with_its_answers_and_without_formulas(visit: Visit, server: Running) -> None:
    page = visit()
    drop(page, "reviews.csv", written([["id", "text", "predicted"], *REVIEWS]))
    expect(page.get_by_label("Column with the texts").locator("option:checked")).to_have_text("text")
    expect(page.locator("#preview")).to_have_text('3 texts. The first: “a "good" film, in two lines”')
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#batch-title")).to_have_text("3 texts")
    expect(page.get_by_role("status")).to_have_text("3 texts classified.")

    answer = server.classify([text for _, text, _ in REVIEWS]).json()
    cells = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    shown = page.locator("#rows tbody tr").evaluate_all(cells)
    expected = zip(REVIEWS, answer["predictions"], strict=True)
    assert shown == [[row[0], row[1], got["label"], percent(got["score"])] for row, got in expected]

    name, (header, *rows) = downloaded(page)
    assert name == "reviews-small.csv"
    assert header == ["id", "text", "predicted", "textgate_predicted", "predicted_score", "truncated", "model_version"]
    given = [row[:3] for row in rows]
    assert given == [["1", REVIEWS[0][1], "x"], ["2", "'=1+bad", "-5"], ["3", f"'{REVIEWS[2][1]}", "'+x"]]
    for row, prediction in zip(rows, answer["predictions"], strict=True):
        assert (row[3], row[5], row[6]) == (prediction["label"], "false", answer["version"])
        assert float(row[4]) == pytest.approx(prediction["score"], abs=1e-9)


def test_rows_of_a_csv_that_cannot_be_asked_are_left_out_and_said(visit: Visit) -> None:
    page = visit()
    choose(page, "odd.csv", b"n;note;words\r1;;word1 good\r\r2;a;b;c\r3;x;\r4;;word1 bad")
    expect(page.get_by_label("Column with the texts").locator("option:checked")).to_have_text("words")
    expect(page.locator("#preview")).to_have_text(
        "2 texts. The first: “word1 good” Left out: 1 row with more or fewer fields than the header (the first is "
        "row 2), 1 row without text (the first is row 3)."
    )
    page.get_by_label("Column with the texts").select_option("note")
    expect(page.locator("#preview")).to_contain_text("1 text. The first: “x”")
    page.get_by_label("Column with the texts").select_option("words")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_have_text("2 texts classified.")
    _, (_, *rows) = downloaded(page)
    assert [(row[0], row[3]) for row in rows] == [("1", "good"), ("4", "bad")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"text\n\xff\xfe", "The file odd.csv is not UTF-8 text"),
        (b"text", "The file odd.csv has no rows below its header."),
        (b"", "The file odd.csv has no rows below its header."),
        (b'text\ngood\n"bad', "The file odd.csv has a quote that is never closed, in or after row 2."),
        (b"id,text\n1,\n", "The file has no text in this column."),
        (b"text\n" + b"good\n" * 10_001, "These are 10,001 texts, and this page takes at most 10,000"),
    ],
)
def test_a_file_that_cannot_be_classified_is_refused_in_a_sentence(visit: Visit, content: bytes, sentence: str) -> None:
    page = visit()
    choose(page, "odd.csv", content)
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    choose(page, "fine.csv", b"text\ngood")
    expect(page.get_by_role("alert")).to_be_empty()
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#rows tbody")).to_contain_text("good")


def test_many_texts_go_in_several_requests_and_can_be_cancelled(visit: Visit, server: Running) -> None:
    page = visit()
    asked: list[int] = []
    held: list[Route] = []

    def hold_the_third(route: Route) -> None:
        asked.append(len(route.request.post_data_json["texts"]))
        if len(asked) == 3:
            held.append(route)
        else:
            route.continue_()

    page.route(CLASSIFY, hold_the_third)
    texts = [f"word{number % 40} {['bad', 'good'][number % 2]}" for number in range(600)]
    choose(page, "many.csv", written([["text"], *([text] for text in texts)]))
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#batch-title")).to_have_text("512 of 600 texts")
    assert page.get_by_role("progressbar").evaluate("bar => [bar.value, bar.max]") == [512, 600]
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("progressbar")).to_be_hidden()
    expect(page.get_by_role("button", name="Classify")).to_be_focused()
    expect(page.get_by_role("alert")).to_be_empty()
    assert len(downloaded(page)[1]) == 1 + 512
    assert asked == [256, 256, 88]

    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_have_text("600 texts classified.")
    _, (_, *rows) = downloaded(page)
    predictions = server.classify(texts).json()["predictions"]
    assert [row[:2] for row in rows] == [[text, got["label"]] for text, got in zip(texts, predictions, strict=True)]
    expect(page.locator("#rows tbody tr")).to_have_count(100)
    page.get_by_role("button", name="Show 100 of 500 more rows").click()
    expect(page.locator("#rows tbody tr")).to_have_count(200)
