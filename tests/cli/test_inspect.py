"""`textgate inspect`: what it finds in a source, on the terminal, as JSON and as a page."""

import csv
import json
import random
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cli import in_process
from click.testing import CliRunner

from textgate.components.ingest.local_source import read_local
from textgate.pipelines import recipes
from textgate.pipelines.cli import main
from textgate.pipelines.inspection import columns

EMAIL, PHONE, CARD, IBAN = (
    "ann.lee@example.com",
    "+44 20 7946 0018",
    "4111 1111 1111 1111",
    "GB29 NWBK 6016 1331 9268 19",
)
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


run = partial(in_process.run, "inspect")
inspected = partial(in_process.run_json, "inspect")
fails = partial(in_process.fails, "inspect")


def texts(count: int, seed: int = 0) -> list[str]:
    """Return different English-looking texts of 8 words, no two of which are nearly the same."""
    chooser = random.Random(seed)
    vocabulary = ["the film", "was", "slow and", "moving", "I liked", "her", "singing", "in a", "small town", "where"]
    vocabulary += ["nobody", "listens", "to the radio", "after", "midnight", "because", "of", "rain", "every", "winter"]
    return [f"{' '.join(chooser.choices(vocabulary, k=8))} in scene {seed * 10_000 + index}" for index in range(count)]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def films(folder: Path) -> None:
    """Write 100 rows with planted defects: each number below is in the name of what the tests look up."""
    rows = [{"text": text, "label": "good" if index % 2 else "bad"} for index, text in enumerate(texts(100))]
    for index in (10, 20, 30):
        rows[index]["label"] = "Bad"
    rows[40]["label"] = "N/A"
    rows += [dict(rows[0]), dict(rows[0])]  # two rows more of one text
    rows.append({"text": rows[2]["text"].upper() + "!", "label": "bad"})  # a copy but for case and punctuation
    rows.append({"text": rows[4]["text"], "label": "good"})  # a conflict
    rows += [{"text": "", "label": "good"}, {"text": "no label", "label": ""}]
    rows[50]["text"] += f" {EMAIL} or {EMAIL}"
    rows[51]["text"] += f" {PHONE}"
    rows[52]["text"] += f" {CARD}"
    rows[53]["text"] += f" {IBAN}"
    write(folder / "films.csv", rows)


def messages(inspection: Any) -> str:
    return "\n".join(finding["message"] for finding in inspection["findings"])


def test_planted_defects_are_counted(folder: Path) -> None:
    films(folder)
    found = inspected("films.csv")
    assert (found["format"], found["rows"], found["usable"], found["complete"]) == ("CSV", 106, 104, True)
    assert found["rejected"] == {"empty text": 1, "missing label": 1}
    assert {each["label"]: each["rows"] for each in found["labels"]} == {"good": 51, "bad": 49, "Bad": 3, "N/A": 1}
    assert {each["label"]: each["rejected"] for each in found["labels"]}["good"] == 1
    assert (found["spellings"], found["missing_markers"]) == ([["Bad", "bad"]], ["N/A"])
    duplicates = found["duplicates"]
    assert (duplicates["exact"], duplicates["copies"]) == (3, 1)
    assert (duplicates["conflicting_texts"], duplicates["conflicting_rows"]) == (1, 2)
    (conflict,) = duplicates["conflict_examples"]
    assert [(row["id"], row["label"]) for row in conflict["shown"]] == [
        ("films.csv:5", "bad"),
        ("films.csv:104", "good"),
    ]
    assert duplicates["exact_examples"][0]["rows"] == 3
    assert found["languages"]["main"] == "en"
    assert messages(found).startswith("'Bad' (3), 'bad' (49) may be one label in several spellings")
    assert "the label 'N/A' (1) looks like a missing value" in messages(found)
    weights = [finding["weight"] for finding in found["findings"]]
    assert weights == sorted(weights, key=["high", "medium", "low"].index)


def test_personal_data_are_counted_and_never_shown(folder: Path) -> None:
    films(folder)
    # As examples, too.
    rows = [{"text": f"write to {EMAIL}", "label": label} for label in ("good", "bad")]
    with (folder / "films.csv").open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, ["text", "label"]).writerows(rows)
    outputs = [run("films.csv", "--page", "films.html").stdout, run("films.csv", "--json").stdout]
    outputs.append((folder / "films.html").read_text("utf-8"))
    personal = {each["kind"]: (each["rows"], each["values"]) for each in json.loads(outputs[1])["personal_data"]}
    assert personal == {"e-mail address": (3, 4), "phone number": (1, 1), "card number": (1, 1), "IBAN": (1, 1)}
    for output in outputs:
        assert "e-mail address" in output
        assert not any(value in output for value in (EMAIL, PHONE, CARD, IBAN))
    assert "write to xxx.xxx@xxxxxxx.xxx" in outputs[1]


def test_texts_in_two_given_splits_are_counted_with_those_that_contradict(folder: Path) -> None:
    train, test = texts(40), texts(20, seed=1)
    rows = [{"split": "train", "text": text, "label": str(index % 2)} for index, text in enumerate(train)]
    rows += [{"split": "test", "text": text, "label": str(index % 2)} for index, text in enumerate(test)]
    rows += [{"split": "test", "text": train[index], "label": "0"} for index in range(5)]  # 1 and 3 contradict
    rows += [{"split": "test", "text": train[10].title(), "label": "1"}]
    write(folder / "hate.csv", rows)
    found = inspected("hate.csv", "--recipe", "hate.yaml")
    (leak,) = found["leaks"]
    assert (leak["first"], leak["second"], leak["rows"]) == ("train", "test", 26)
    assert (leak["exact"], leak["exact_contradicting"]) == (5, 2)
    assert (leak["copies"], leak["copies_contradicting"]) == (6, 3)
    assert {row["split"] for row in leak["examples"][0]["shown"]} == {"train", "test"}
    assert found["findings"][0]["message"].startswith(
        "6 of the 26 rows of the split 'test' (23.1\N{NO-BREAK SPACE}%) are also in 'train', 3 of "
        "them with another label"
    )
    assert recipes.load("hate.yaml").source.test == "split == test"


def test_train_and_test_files_of_a_folder_are_given_splits(folder: Path) -> None:
    (folder / "films").mkdir()
    rows = [{"text": text, "label": str(index % 2)} for index, text in enumerate(texts(30))]
    write(folder / "films" / "train.csv", rows)
    write(folder / "films" / "test.csv", rows[:3])
    found = inspected("films")
    assert found["format"] == "folder of 2 CSV files"
    assert [(each["name"], each["role"], each["rows"]) for each in found["splits"]] == [
        ("train", "train", 30),
        ("test", "test", 3),
    ]
    assert found["leaks"][0]["exact"] == 3


def test_uses_of_the_columns_are_guessed(folder: Path) -> None:
    rows = [
        {
            "id": str(i),
            "posted_at": f"2024-03-{i % 28 + 1:02}",
            "author": f"user{i % 7}",
            "body": text,
            "topic": f"t{i % 3}",
        }
        for i, text in enumerate(texts(60))
    ]
    write(folder / "posts.csv", rows)
    found = inspected("posts.csv")
    roles = {column["name"]: column["role"] for column in found["columns"]}
    assert roles == {"id": "", "posted_at": "date", "author": "group", "body": "text", "topic": "label"}
    assert "the column 'posted_at' holds dates" in messages(found)


def test_what_tells_classes_apart_without_their_meaning_is_named(folder: Path) -> None:
    rows = [
        {"text": text + (" see http://example.org/a" if index % 2 else ""), "label": "spam" if index % 2 else "ham"}
        for index, text in enumerate(texts(80))
    ]
    write(folder / "spam.csv", rows)
    found = inspected("spam.csv")
    (finding,) = [each for each in found["findings"] if "instead of the meaning" in each["message"]]
    assert finding["message"].startswith("100.0\N{NO-BREAK SPACE}% of the texts of 'spam' have a web address, and 0.0")
    assert finding["keys"] == ["preprocess.normalizer.remove_urls"]


def test_columns_without_a_name_are_no_missing_header(folder: Path) -> None:
    lines = [f"{'ham' if i % 2 else 'spam'},{text},,," for i, text in enumerate(texts(50))]
    (folder / "spam.csv").write_text("\n".join(["v1,v2,,,", *lines]), "utf-8")
    found = inspected("spam.csv")
    assert (found["text"], found["label"], found["rows"], found["usable"]) == (["v2"], "v1", 50, 50)
    assert [column["name"] for column in found["columns"]] == ["v1", "v2"]


def test_numeric_labels_are_in_the_order_of_their_values(folder: Path) -> None:
    write(folder / "eleven.csv", [{"text": text, "label": str(i % 11)} for i, text in enumerate(texts(55))])
    found = inspected("eleven.csv", "--recipe", "eleven.yaml")
    assert [label["label"] for label in found["labels"]] == [str(number) for number in range(11)]
    lines = Path("eleven.yaml").read_text("utf-8").splitlines()
    named = [line.split('"')[1] for line in lines if re.fullmatch(r' +"\d+": .*', line)]
    assert named in ([], [str(number) for number in range(11)])


def test_labels_that_look_the_same_are_shown_apart(folder: Path) -> None:
    labels = ["very good", "very\u00a0good"]
    write(folder / "cafe.csv", [{"text": text, "label": labels[i % 2]} for i, text in enumerate(texts(50))])
    assert r"'very good' (25), 'very\xa0good' (25) may be one label" in messages(inspected("cafe.csv"))


def test_the_languages_of_classes_are_compared(folder: Path) -> None:
    german = "Der Film war langsam und bewegend, aber die Musik hat mir in der Stadt gut gefallen, Szene"
    rows = [{"text": text, "label": "en"} for text in texts(60)]
    rows += [{"text": f"{german} {index}", "label": "de"} for index in range(30)]
    write(folder / "two.csv", rows)
    found = inspected("two.csv")
    assert found["languages"]["main"] == "en"
    assert found["languages"]["shares"]["de"] > 0.3
    assert found["languages"]["other_by_label"] == {"de": 1, "en": 0}
    assert "100.0\N{NO-BREAK SPACE}% of the texts of 'de'" in messages(found)


def test_tokens_are_counted_by_a_tokenizer_if_one_is_named(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.save("tokenizer.json")
    rows = [{"text": "ab " * 100 + str(index), "label": str(index % 2)} for index in range(30)]
    write(folder / "long.csv", rows)
    assert inspected("long.csv")["lengths"]["tokens"]["over"] == {"128": 0, "256": 0, "512": 0}
    counted = inspected("long.csv", "--tokenizer", "tokenizer.json")["lengths"]
    assert (counted["tokenizer"], counted["tokens"]["over"]["256"]) == ("tokenizer.json", 1)
    (folder / "none").mkdir()
    assert "there is no none/tokenizer.json" in fails("long.csv", "--tokenizer", "none")
    assert "the recipe quickstart-tfidf has no base model" in fails("long.csv", "--tokenizer", "quickstart-tfidf")


def test_the_terminal_shows_findings_first_and_the_next_step(folder: Path) -> None:
    films(folder)
    lines = [line.rstrip() for line in run("films.csv").stdout.splitlines()]
    assert lines[0] == "source     films.csv (CSV)"
    assert lines[1].startswith("rows       106 rows, 104 of them usable, read in ")
    assert lines[2] == "columns    text (text), label (label)"
    assert lines[5].startswith("high    'Bad' (3), 'bad' (49) may be one label")
    assert any(re.fullmatch(r"bad +49 +47\.1.% +0 +\d+", line) for line in lines)
    assert lines[-1] == "next       textgate init films.csv"


def test_a_part_of_a_large_source_is_said_to_be_one(folder: Path) -> None:
    films(folder)
    assert "rows       the first 20 rows (--max-rows), 20 of them usable" in run("films.csv", "--max-rows", "20").stdout
    found = inspected("films.csv", "--max-rows", "20")
    assert (found["rows"], found["complete"]) == (20, False)
    assert inspected("films.csv", "--max-rows", "106")["complete"]


def test_the_recipe_is_the_one_of_init(folder: Path) -> None:
    films(folder)
    assert "next       textgate run films.yaml" in run("films.csv", "--recipe", "films.yaml").stdout
    CliRunner().invoke(main, ["init", "films.csv", "-o", "init.yaml"])
    assert (folder / "films.yaml").read_text() == (folder / "init.yaml").read_text()
    assert "films.yaml exists already" in fails("films.csv", "--recipe", "films.yaml")


def test_the_page_is_one_file_and_escapes_what_the_source_says(folder: Path) -> None:
    rows = [
        {"text": f"{HOSTILE} {text}", "label": HOSTILE if index % 2 else "b"} for index, text in enumerate(texts(40))
    ]
    write(folder / "hostile.csv", [*rows, rows[0]])
    assert run("hostile.csv", "--page", "page.html").exit_code == 0
    html = (folder / "page.html").read_text("utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script" not in html
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"|url\(|@import', html) == []
    assert "model: hostile" in html
    assert "none/page.html cannot be written: No such file" in fails("hostile.csv", "--page", "none/page.html")


def test_a_source_with_one_label_is_profiled_but_gives_no_recipe(folder: Path) -> None:
    write(folder / "one.csv", [{"text": text, "label": "x"} for text in texts(10)])
    found = inspected("one.csv", "--page", "one.html")
    assert found["findings"][0]["message"] == (
        "the usable rows have only the label 'x' in the column 'label': a classifier needs two"
    )
    assert "needs at least two labels" in fails("one.csv", "--recipe", "one.yaml")
    assert not (folder / "one.yaml").exists()


def test_what_a_reader_prints_is_a_note_and_keeps_json_valid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*arguments: Any) -> Any:
        print("films.csv: guessed encoding cp1252")
        return read_local(*arguments)

    films(folder)
    monkeypatch.setattr(columns, "read_local", read)
    assert inspected("films.csv")["notes"] == ["films.csv: guessed encoding cp1252"]
    assert "note       films.csv: guessed encoding cp1252" in run("films.csv").stdout


def test_two_runs_say_the_same(folder: Path) -> None:
    films(folder)
    first, second = inspected("films.csv"), inspected("films.csv")
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_what_cannot_be_read_is_one_sentence(folder: Path) -> None:
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("text,label\n")
    (folder / "column.csv").write_text("text\n" + "\n".join(texts(5)))
    (folder / "numbers.csv").write_text("label,value\n" + "".join(f"{index % 2},{index}\n" for index in range(9)))
    (folder / "unique.csv").write_text("text,label\n" + "".join(f"a{index},b{index}\n" for index in range(1_200)))
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 40)
    (folder / "binary.parquet").write_bytes(bytes(range(256)) * 40)
    (folder / "words.doc").write_text("x")
    wrong = {
        "empty.csv": "empty.csv has no header row",
        "header.csv": "header.csv has no row that can be read",
        "column.csv": "no column of column.csv looks like one of labels: name it with --label; there are 'text'",
        "numbers.csv": "no column of numbers.csv looks like one of texts: name it with --text; there are 'value'",
        "unique.csv": "the column 'label' of unique.csv has over 1,000 values: name the column that holds the labels",
        "binary.csv": "binary.csv has no row that can be read: ",
        "binary.parquet": "binary.parquet is damaged",
        "words.doc": "the format of words.doc is not known by its name",
        "missing.csv": "there is no file or folder missing.csv",
    }
    for name, sentence in wrong.items():
        assert sentence in fails(name)
    assert "no column 'txt' in column.csv; did you mean 'text'?" in fails("column.csv", "--text", "txt")
    assert run("column.csv", "--max-rows", "0").exit_code == 2
