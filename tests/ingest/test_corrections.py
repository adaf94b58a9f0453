"""Corrections of labels: fed back from a label check or written by hand, matched by text, and accounted for."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgate.components.check_labels.label_check import check_dataset
from textgate.components.contracts import Dataset, InputError, Preprocess, Source
from textgate.components.contracts.label_counts import CorrectionCounts
from textgate.components.contracts.label_issues import (
    COLUMNS,
    LabelIssue,
    LabelIssuesManifest,
    as_cell,
    from_cell,
    read_table,
    write_label_issues,
)
from textgate.components.contracts.text_keys import text_key
from textgate.components.ingest.ingest import ingest_source
from textgate.components.ingest.source_parts import ingest_part, join_parts
from textgate.components.preprocess.preprocess import preprocess_dataset
from textgate.components.sources import source_version

NOTHING = LabelIssuesManifest(dataset="d", texts=0, labels={}, unchecked={}, pairs=[])


def write_csv(path: Path, rows: Sequence[Sequence[str]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Source:
    rows = [("a fine film", "good"), ("A fine film!", "bad"), ("dull", "good"), ("awful", "bad"), ("=1+1", "-1")]
    path = write_csv(tmp_path / "films.csv", [("text", "label"), *rows])
    return Source(uri=str(path), corrections=str(tmp_path / "fixes.csv"))


def ingest(source: Source, folder: Path) -> Dataset:
    ingest_source(source, folder, folder)
    return Dataset.open(folder)


def labels(dataset: Dataset) -> dict[str, str]:
    return {row.text: row.label for row in dataset.rows("all")}


def test_lines_correct_drop_and_keep_and_every_row_is_accounted_for(
    source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        ("dull", "good", "bad"),
        ("a FINE film", "bad", "good"),
        ("awful", "bad", ""),
        ("=1+1", "-1", "-1"),
        ("gone since", "good", "bad"),
        ("dull", "bad", "good"),
    ]
    write_csv(tmp_path / "fixes.csv", [("text", "label", "corrected_label"), *lines])
    dataset = ingest(source, tmp_path / "out")
    assert labels(dataset) == {"a fine film": "good", "A fine film!": "good", "dull": "bad", "=1+1": "-1"}
    manifest = dataset.manifest
    assert manifest.corrections == CorrectionCounts(corrected=2, dropped=1, unmatched=2, first_unmatched=6)
    assert manifest.rejected == {"dropped by source.corrections": 1}
    assert [(row.label, row.text) for row in dataset.rejected()] == [("bad", "awful")]
    assert manifest.rows_in == 5
    assert (
        "textgate warning: 2 labels corrected, 1 rows dropped by source.corrections; 2 of its lines matched no row "
        "with that text and label, the first is line 6"
    ) in capsys.readouterr().out


def test_the_effect_is_the_same_in_parts_and_stays_in_the_preprocessed_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(2):
        rows = [(f"text {number} {index}", "ab"[index % 2]) for index in range(20)]
        write_csv(folder / f"{number}.csv", [("text", "label"), *rows])
    lines = [("text 0 0", "a", "b"), ("text 1 1", "b", ""), ("text 0 1", "b", "a"), ("no text", "a", "b")]
    fixes = write_csv(tmp_path / "fixes.csv", [("text", "label", "corrected_label"), *lines])
    source = Source(uri=str(folder), corrections=str(fixes))
    complete = ingest(source, tmp_path / "complete").manifest
    for part in range(2):
        ingest_part(source, part, 2, tmp_path / f"part-{part}", tmp_path)
    joined = join_parts(source, [tmp_path / "part-0", tmp_path / "part-1"], tmp_path / "joined", tmp_path)
    assert joined == complete
    assert complete.corrections == CorrectionCounts(corrected=2, dropped=1, unmatched=1, first_unmatched=5)
    preprocessed = preprocess_dataset(tmp_path / "complete", Preprocess(), tmp_path / "preprocessed")
    assert preprocessed.corrections == complete.corrections


def test_the_table_of_a_label_check_is_fed_back(tmp_path: Path) -> None:
    """The rows move in the file in between, and a spreadsheet has saved the table with other separators."""
    words = {"a": "sun rain wind snow cloud storm", "b": "bread milk salt rice meat cake"}
    rows = [
        (f"{first} {second} {n}", c)
        for c in "ab"
        for first in words[c].split()
        for second in words[c].split()
        for n in range(3)
    ]
    wrong = range(0, len(rows), 30)
    noisy = [(text, "ab"[label == "a"] if index in wrong else label) for index, (text, label) in enumerate(rows)]
    path = write_csv(tmp_path / "weather.csv", [("text", "label"), *noisy])
    source = Source(uri=str(path))
    ingest(source, tmp_path / "1")
    preprocess_dataset(tmp_path / "1", Preprocess(), tmp_path / "dataset")
    check_dataset(tmp_path / "dataset", 1_000, 13, tmp_path / "issues")

    lines = [values for _, values in read_table(tmp_path / "issues/label_issues.csv", COLUMNS)]
    assert lines
    unedited = source.model_copy(update={"corrections": str(tmp_path / "issues/label_issues.csv")})
    assert ingest(unedited, tmp_path / "2").manifest.corrections == CorrectionCounts(
        corrected=0, dropped=0, unmatched=0
    )

    edited = [[line[column] for column in COLUMNS] for line in lines]
    for line in edited:
        line[COLUMNS.index("corrected_label")] = line[COLUMNS.index("suggested_label")]
    write_csv(tmp_path / "fixes.csv", [COLUMNS, *edited], delimiter=";")
    write_csv(path, [("text", "label"), *reversed(noisy)])
    corrected = ingest(source.model_copy(update={"corrections": str(tmp_path / "fixes.csv")}), tmp_path / "3")
    assert corrected.manifest.corrections == CorrectionCounts(corrected=len(lines), dropped=0, unmatched=0)
    fixed = {line["text"] for line in lines}
    found = labels(corrected)
    assert all(found[text] == ("ab"[label == "a"] if text in fixed else label) for text, label in noisy)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,corrected_label\ndull,bad\n", "has no column 'label': its first line must name label, corrected_label"),
        ("text,label,corrected_label\ndull,good\n", "line 2 of .* has another number of columns than the first"),
        ("text,label,corrected_label\nwhat, now,good,bad\n", "line 2 of .* quote a text that holds ','"),
        (
            "text,label,corrected_label\ndull,good,bda\n",
            "line 2 .* 'bda', which the source does not have: .* -1, bad, go",
        ),
        ("key,label,corrected_label\n1.2E+15,good,bad\n", "line 2 of .* names no text: its column key must hold"),
        ("label,corrected_label\ngood,bad\n", "line 2 of .* names no text"),
        (
            "text,label,corrected_label\ndull,good,bad\nDull.,good,-1\n",
            "lines 2 and 3 of .* correct the label 'good' of one text differently",
        ),
        ('text,label,corrected_label\n"dull,good,bad\n', "is not CSV"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(
    content: str, message: str, source: Source, tmp_path: Path
) -> None:
    (tmp_path / "fixes.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        ingest(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_in_another_encoding_is_refused(source: Source, tmp_path: Path) -> None:
    (tmp_path / "fixes.csv").write_bytes("text,label,corrected_label\ndull,good,schön\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"is not UTF-8 .*: save it as CSV UTF-8"):
        ingest(source, tmp_path / "out")


def test_the_version_of_the_source_covers_the_corrections(source: Source, tmp_path: Path) -> None:
    versions = {source_version(source.model_copy(update={"corrections": None}))}
    for label in ("bad", "good"):
        write_csv(tmp_path / "fixes.csv", [("text", "label", "corrected_label"), ("dull", "good", label)])
        versions.add(source_version(source))
    assert len(versions) == 3


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.from_regex(r"'{0,3}[=+@\t\r\n-].*"))
def test_no_cell_begins_a_formula_and_every_value_survives(value: str) -> None:
    cell = as_cell(value)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    assert from_cell(cell) == value


def test_labels_that_look_like_formulas_survive_the_table(tmp_path: Path) -> None:
    text = '=HYPERLINK("http://evil.example","click")\r\nsecond line; third, part'
    issue = LabelIssue(text_key(text), "-1.csv:1", "train", "-1", "+1", 0.9, 0.1, text)
    write_label_issues(tmp_path / "issues", NOTHING, [issue])
    raw = (tmp_path / "issues/label_issues.csv").read_text("utf-8-sig")
    with (tmp_path / "issues/label_issues.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = list(csv.reader(file))[1]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
    assert raw.startswith("key,id,split,label,suggested_label,corrected_label,")
    ((line, values),) = read_table(tmp_path / "issues/label_issues.csv", COLUMNS)
    assert (values["label"], values["corrected_label"], values["suggested_label"]) == ("-1", "-1", "+1")
    assert (values["key"], values["text"], values["id"]) == (text_key(text), text, "-1.csv:1")
    assert line == 3
