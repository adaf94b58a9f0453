"""Many texts: dropped or chosen as a CSV file, classified in several requests, downloaded."""

import pytest
from playwright.sync_api import Route, expect
from serving.page.actions import (
    CLASSIFY,
    Visit,
    choose_file,
    download_csv,
    drop_file,
    percent,
    to_csv,
)
from serving.server_process import ServerProcess

pytestmark = pytest.mark.slow

REVIEWS = [
    ["1", 'a "good" film,\r\nin two lines', "x"],
    ["2", "=1+bad", "-5"],
    ["3", "@good, ünïcode \N{WOMAN}\u200d\N{GIRL}", "+x"],
]


def test_a_dropped_csv_is_downloaded_with_predictions_and_without_formulas(visit: Visit, server: ServerProcess) -> None:
    page = visit()
    drop_file(page, "reviews.csv", to_csv([["id", "text", "predicted"], *REVIEWS]))
    expect(page.get_by_label("Text column").locator("option:checked")).to_have_text("text")
    expect(page.locator("#preview")).to_have_text('3 texts. The first: “a "good" film, in two lines”')
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#batch-title")).to_have_text("3 texts")
    expect(page.get_by_role("status")).to_have_text("3 texts classified.")

    body = {"texts": [text for _, text, _ in REVIEWS], "top_k": 2}
    answer = server.post("/v1/models/small:classify", body).json()
    cells = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    shown = page.locator("#rows tbody tr").evaluate_all(cells)
    expected = zip(REVIEWS, answer["predictions"], strict=True)
    assert shown == [
        [row[0], row[1], prediction["label"], percent(prediction["score"])] for row, prediction in expected
    ]

    name, (header, *rows) = download_csv(page)
    assert name == "reviews-small.csv"
    assert header == [
        *("id", "text", "predicted", "textgate_predicted", "predicted_score", "probability_bad", "probability_good"),
        *("truncated", "model_version"),
    ]
    original_cells = [row[:3] for row in rows]
    assert original_cells == [["1", REVIEWS[0][1], "x"], ["2", "'=1+bad", "-5"], ["3", f"'{REVIEWS[2][1]}", "'+x"]]
    for row, prediction in zip(rows, answer["predictions"], strict=True):
        assert (row[3], row[7], row[8]) == (prediction["label"], "false", answer["version"])
        assert float(row[4]) == pytest.approx(prediction["score"], abs=1e-9)
        scores = {top["label"]: top["score"] for top in prediction["top"]}
        assert [float(cell) for cell in row[5:7]] == pytest.approx([scores["bad"], scores["good"]], abs=1e-9)


def test_rows_of_a_csv_that_cannot_be_classified_are_skipped_and_reported(visit: Visit) -> None:
    page = visit()
    choose_file(page, "odd.csv", b"n;note;words\r1;;word1 good\r\r2;a;b;c\r3;x;\r4;;word1 bad")
    expect(page.get_by_label("Text column").locator("option:checked")).to_have_text("words")
    expect(page.locator("#preview")).to_have_text(
        "2 texts. The first: “word1 good” Skipped: 1 row with more or fewer fields than the header (the first is "
        "row 2), 1 row without text (the first is row 3)."
    )
    page.get_by_label("Text column").select_option("note")
    expect(page.locator("#preview")).to_contain_text("1 text. The first: “x”")
    page.get_by_label("Text column").select_option("words")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_have_text("2 texts classified.")
    _, (_, *rows) = download_csv(page)
    assert [(row[0], row[3]) for row in rows] == [("1", "good"), ("4", "bad")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"text\n\xff\xfe", "The file odd.csv is not UTF-8 text"),
        (b"text", "The file odd.csv has no rows below its header."),
        (b"", "The file odd.csv has no rows below its header."),
        (b'text\ngood\n"bad', "The file odd.csv has a quote that is never closed, in or after row 2."),
        (b"id,text\n1,\n", "The file has no text in this column."),
        (b"text\n" + b"good\n" * 10_001, "10,001 texts are more than this page accepts (10,000)"),
    ],
)
def test_a_file_that_cannot_be_classified_is_reported_in_one_sentence(
    visit: Visit, content: bytes, sentence: str
) -> None:
    page = visit()
    choose_file(page, "odd.csv", content)
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    choose_file(page, "fine.csv", b"text\ngood")
    expect(page.get_by_role("alert")).to_be_empty()
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#rows tbody")).to_contain_text("good")


def test_many_texts_are_sent_in_several_requests_and_can_be_cancelled(visit: Visit, server: ServerProcess) -> None:
    page = visit()
    request_sizes: list[int] = []
    held: list[Route] = []

    def hold_the_third(route: Route) -> None:
        request_sizes.append(len(route.request.post_data_json["texts"]))
        if len(request_sizes) == 3:
            held.append(route)
        else:
            route.continue_()

    page.route(CLASSIFY, hold_the_third)
    texts = [f"word{number % 40} {['bad', 'good'][number % 2]}" for number in range(600)]
    choose_file(page, "many.csv", to_csv([["text"], *([text] for text in texts)]))
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#batch-title")).to_have_text("512 of 600 texts")
    assert page.get_by_role("progressbar").evaluate("bar => [bar.value, bar.max]") == [512, 600]
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("progressbar")).to_be_hidden()
    expect(page.get_by_role("button", name="Classify")).to_be_focused()
    expect(page.get_by_role("alert")).to_be_empty()
    assert len(download_csv(page)[1]) == 1 + 512
    assert request_sizes == [256, 256, 88]

    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_have_text("600 texts classified.")
    _, (_, *rows) = download_csv(page)
    predictions = server.classify(texts).json()["predictions"]
    assert [row[:2] for row in rows] == [[text, got["label"]] for text, got in zip(texts, predictions, strict=True)]
    expect(page.locator("#rows tbody tr")).to_have_count(100)
    page.get_by_role("button", name="Show 100 of 500 more rows").click()
    expect(page.locator("#rows tbody tr")).to_have_count(200)
