"""Several sources in one dataset."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.ingest.ingest import ingest_source
from textgate.components.ingest.source_parts import ingest_part, join_parts
from textgate.components.sources import content_version, source_version

MAIN = {"text": "body", "label": "stars", "labels": {"1": "bad", "5": "good"}, "metadata": ["topic"]}


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture
def films(tmp_path: Path) -> str:
    """Main source: two files of three rows each, one of them with an unknown label."""
    folder = tmp_path / "films"
    folder.mkdir()
    for file in ("train", "test"):
        stars = [1, 5, 3 if file == "train" else 5]
        rows = [
            {"body": f"{file} {number}", "stars": star, "topic": "film", "source": "web"}
            for number, star in enumerate(stars)
        ]
        write(folder / f"{file}.jsonl", *rows)
    return str(folder)


@pytest.fixture
def answers(tmp_path: Path) -> str:
    """Further source with label names, of which one is unknown to the main source."""
    rows = [{"text": f"answer {label}", "label": label, "user": "u"} for label in ("good", "bad", "mixed")]
    return write(tmp_path / "answers.jsonl", *rows)


def ingest(tmp_path: Path, settings: dict[str, Any], parts: int = 0) -> Dataset:
    source = Source.model_validate(settings)
    output, downloads = tmp_path / f"out-{parts}", tmp_path / "downloads"
    if parts:
        folders = [tmp_path / f"part-{number}" for number in range(parts)]
        for number, folder in enumerate(folders):
            ingest_part(source, number, parts, folder, downloads)
        random.Random(7).shuffle(folders)
        join_parts(source, folders, output, downloads)
    else:
        ingest_source(source, output, downloads)
    return Dataset.open(output)


def rows(dataset: Dataset, split: str = "all") -> dict[str, tuple[str, dict[str, str]]]:
    return {row.id: (row.label, row.metadata) for row in dataset.rows(split)}


def test_each_row_keeps_its_source_and_labels_mean_the_same(films: str, answers: str, tmp_path: Path) -> None:
    dataset = ingest(tmp_path, {"uri": films, **MAIN, "also": {"answers": {"uri": answers, "metadata": ["user"]}}})
    film, answer = {"topic": "film", "user": "", "source": "main"}, {"topic": "", "user": "u", "source": "answers"}
    assert rows(dataset) == {
        "main/test.jsonl:1": ("bad", film),
        "main/test.jsonl:2": ("good", film),
        "main/test.jsonl:3": ("good", film),
        "main/train.jsonl:1": ("bad", film),
        "main/train.jsonl:2": ("good", film),
        "answers/answers.jsonl:1": ("good", answer),
        "answers/answers.jsonl:2": ("bad", answer),
    }
    assert {row.id: row.reason for row in dataset.rejected()} == {
        "main/train.jsonl:3": "unknown label",
        "answers/answers.jsonl:3": "unknown label",
    }
    assert dataset.manifest.labels == ["bad", "good"]
    assert dataset.manifest.source == f"{films}, {answers}"
    assert dataset.manifest.rows_in == 9


def test_a_label_that_only_one_source_has_comes_last(films: str, answers: str, tmp_path: Path) -> None:
    labels = {"mixed": "mixed", "good": "good", "bad": "bad"}
    dataset = ingest(tmp_path, {"uri": films, **MAIN, "also": {"answers": {"uri": answers, "labels": labels}}})
    assert dataset.manifest.labels == ["bad", "good", "mixed"]
    assert dataset.manifest.rejected == {"unknown label": 1}


def test_without_a_mapping_the_labels_of_all_sources_are_sorted(answers: str, tmp_path: Path) -> None:
    more = write(tmp_path / "more.jsonl", {"text": "x", "label": "aloof"})
    dataset = ingest(tmp_path, {"uri": answers, "also": {"more": {"uri": more}}})
    assert dataset.manifest.labels == ["aloof", "bad", "good", "mixed"]


def test_filters_are_those_of_each_source(films: str, answers: str, tmp_path: Path) -> None:
    main = {"uri": films, **MAIN, "test": "split == test", "where": "source == web"}
    also = {"uri": answers, "validation": "label == bad", "where": "label != mixed"}
    dataset = ingest(tmp_path, {**main, "also": {"answers": also}})
    assert {split: list(rows(dataset, split)) for split in dataset.manifest.counts} == {
        "all": ["main/train.jsonl:1", "main/train.jsonl:2", "answers/answers.jsonl:1"],
        "test": ["main/test.jsonl:1", "main/test.jsonl:2", "main/test.jsonl:3"],
        "validation": ["answers/answers.jsonl:2"],
    }
    assert dataset.manifest.rows_filtered == 1


def test_a_further_source_can_be_the_whole_test_split(films: str, tmp_path: Path) -> None:
    test = write(tmp_path / "test.jsonl", {"text": "t1", "label": "good"}, {"text": "t2", "label": "bad"})
    dataset = ingest(tmp_path, {"uri": films, **MAIN, "also": {"test": {"uri": test, "test": "split == test"}}})
    assert Counter(row.metadata["source"] for row in dataset.rows("test")) == {"test": 2}
    assert Counter(row.metadata["source"] for row in dataset.rows("all")) == {"main": 5}


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_ingest_in_parts_gives_the_same_dataset(parts: int, films: str, answers: str, tmp_path: Path) -> None:
    (tmp_path / "plain.csv").write_text("bad,csv one\ngood,csv two\n")
    also = {
        "answers": {"uri": answers, "metadata": ["user"], "validation": "label == bad"},
        "plain": {"uri": str(tmp_path / "plain.csv"), "csv": {"columns": ["label", "text"]}},
    }
    settings = {"uri": films, **MAIN, "test": "split == test", "also": also}
    whole, joined = ingest(tmp_path, settings), ingest(tmp_path, settings, parts)
    assert joined.manifest == whole.manifest
    for split in whole.manifest.counts:
        assert list(joined.rows(split)) == list(whole.rows(split))
    assert list(joined.rejected()) == list(whole.rejected())


@pytest.mark.parametrize("parts", [0, 2])
@pytest.mark.parametrize(
    ("further", "sentence"),
    [
        (
            {"labels": {"x": "good", "y": "bad"}},
            r"no row of .*answers.jsonl \(source.also.answers\) can be used: 3 unkno",
        ),
        ({"where": "label == x"}, r"no row of .*: the row filter 'label == x' selects no others; correct it, or leave"),
        (
            {"test": "label == x"},
            r"source.also.answers.test 'label == x' selects none of the 2 rows of .*answers.jsonl",
        ),
    ],
)
def test_a_source_that_adds_nothing_is_an_input_error(
    further: dict[str, Any], sentence: str, parts: int, films: str, answers: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        ingest(tmp_path, {"uri": films, **MAIN, "also": {"answers": {"uri": answers, **further}}}, parts)
    assert "\n" not in str(error.value)
    assert not (tmp_path / f"out-{parts}").exists()


def test_the_given_splits_leave_rows_to_train_on(films: str, answers: str, tmp_path: Path) -> None:
    also = {"answers": {"uri": answers, "validation": "split == answers"}}
    with pytest.raises(InputError, match="the filters test and validation select all rows of the sources"):
        ingest(tmp_path, {"uri": films, **MAIN, "test": "stars > 0", "also": also})


def test_the_version_is_that_of_all_sources(films: str, answers: str) -> None:
    one = Source.model_validate({"uri": films, **MAIN})
    several = one.model_copy(update={"also": {"answers": Source(uri=answers)}})
    assert source_version(one) == content_version(films)
    before = source_version(several)
    assert before not in (content_version(films), content_version(answers))
    Path(answers).write_text('{"text": "changed", "label": "good"}')
    assert source_version(several) != before
