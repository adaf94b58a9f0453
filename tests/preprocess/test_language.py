from pathlib import Path

import pytest

from textgate.components.contracts import Dataset, InputError, Preprocess, Row, TextNormalizer, dataset_writer
from textgate.components.preprocess.language import language_filter
from textgate.components.preprocess.preprocess import preprocess_dataset

ENGLISH = [
    "You should be ashamed of what you have written on this page.",
    "17 Times Kourtney Kardashian Shut Down Her Own Family",
    "COME ON, WHO WOULD EVER BELIEVE THAT",
    "the plot is thin , but the songs are lovely",
]
SHORT = ["ok", "you suck", "Gay", "idiot", "123", "!!!", "😀", "no", "fuck you", "I hate you"]
FOREIGN = [
    "Das ist ein deutscher Satz, den hier niemand lesen sollte.",
    "Je ne comprends pas pourquoi cet article a été supprimé.",
    "No entiendo por qué borraron este artículo ayer.",
    "Ta strona została usunięta bez żadnego powodu.",
    "Привет, как дела?",
    "この記事は削除されました。",
    "هذه المقالة محذوفة",
]


def test_foreign_texts_are_rejected_and_too_short_ones_kept() -> None:
    english, german = language_filter("en"), language_filter("de")
    assert [text for text in ENGLISH + SHORT if not english(text)] == []
    assert [text for text in FOREIGN if english(text)] == []
    assert [text for text in FOREIGN if german(text)] == FOREIGN[:1]
    assert not any(german(text) for text in ENGLISH)


def test_a_long_text_is_judged_by_its_start() -> None:
    english = language_filter("en")
    assert english(ENGLISH[0] * 10 + FOREIGN[0] * 1_000)
    assert not english(FOREIGN[0] * 10 + ENGLISH[0] * 1_000)


def test_another_language_takes_precedence_over_other_reasons(tmp_path: Path) -> None:
    rows = [
        *((f"This is the English sentence with number {number}", "ab"[number % 2]) for number in range(20)),
        (FOREIGN[0], "a"),
        (FOREIGN[0], "b"),
        (FOREIGN[1] + " https://a.b/the-name-of-a-page-in-english", "a"),
        ("", "a"),
    ]
    with dataset_writer(tmp_path / "raw", ["all", "test"]) as writer:
        for number, (text, label) in enumerate(rows):
            writer.add("all", Row(f"all:{number}", text, label))
        for number, text in enumerate([*ENGLISH, FOREIGN[0], FOREIGN[2]]):
            writer.add("test", Row(f"test:{number}", text, "ab"[number % 2]))
        writer.finish("data.csv", ["a", "b"])
    settings = Preprocess(normalizer=TextNormalizer(remove_urls=True), language="en")
    preprocess_dataset(tmp_path / "raw", settings, tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    assert {row.id: row.reason for row in dataset.rejected()} == {
        **{f"all:{number}": "another language" for number in (20, 21, 22)},
        "all:23": "empty text",
        **{f"test:{number}": "another language" for number in (4, 5)},
    }
    assert dataset.manifest.rows_out == 24


def test_an_unknown_language_is_an_input_error(tmp_path: Path) -> None:
    with dataset_writer(tmp_path / "raw", ["all"]) as writer:
        writer.finish("data.csv", ["a", "b"])
    with pytest.raises(InputError, match=r"'xx' cannot be detected: choose one of af, am, .*, en"):
        preprocess_dataset(tmp_path / "raw", Preprocess(language="xx"), tmp_path / "out")
