import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Rejected, Row, TextNormalizer, dataset_writer

TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


def write(path: Path, rows: list[Row], rejected: list[Rejected] | None = None, shard: int = 50_000) -> Dataset:
    with dataset_writer(path, ["train", "test"], rows_per_shard=shard) as writer:
        for number, row in enumerate(rows):
            writer.add("test" if number % 3 == 0 else "train", row)
        for row in rejected or []:
            writer.reject(row)
        writer.finish("data.csv", ["a", "b"], rows_filtered=7, normalizer=TextNormalizer(lowercase=True))
    return Dataset.open(path)


@settings(deadline=None, max_examples=40)
@given(
    texts=st.lists(st.tuples(TEXT, TEXT, st.sampled_from("ab")), max_size=12),
    rejected=st.lists(st.builds(Rejected, TEXT, TEXT, st.none() | st.text(), st.none() | st.text()), max_size=5),
    shard=st.integers(1, 5),
)
def test_rows_and_rejections_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str, str]], rejected: list[Rejected], shard: int
) -> None:
    rows = [Row(*text) for text in texts]
    dataset = write(tmp_path_factory.mktemp("data") / "set", rows, rejected, shard)
    assert list(dataset.rows("test")) == rows[::3]
    assert [row for number, row in enumerate(rows) if number % 3] == list(dataset.rows("train"))
    assert [row.reason for row in dataset.rejected()] == [row.reason for row in rejected]
    assert dataset.manifest.rows_in == len(rows) + len(rejected)
    assert dataset.manifest.rows_filtered == 7
    ids, found, classes = dataset.columns("test")
    assert list(zip(ids, found, ["ab"[number] for number in classes], strict=True)) == texts[::3]


def test_the_fingerprint_is_of_the_content_alone(tmp_path: Path) -> None:
    rows = [Row(str(number), f"text {number}", "ab"[number % 2]) for number in range(10)]
    first, second = write(tmp_path / "1", rows), write(tmp_path / "2", rows, shard=2)
    assert first.manifest.fingerprint == second.manifest.fingerprint
    changed = write(tmp_path / "3", [*rows[:-1], Row("9", "text 9.", "b")])
    assert changed.manifest.fingerprint != first.manifest.fingerprint


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), dataset_writer(tmp_path / "set", ["train"]) as writer:
        writer.add("train", Row("1", "text", "a"))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_label_nobody_named_is_not_written(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="labels that are not among"),
        dataset_writer(tmp_path / "set", ["train"]) as writer,
    ):
        writer.add("train", Row("1", "text", "stranger"))
        writer.finish("data.csv", ["a", "b"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rows_in": 5}, "rows in"),
        ({"format_version": 2}, "format_version"),
        ({"extra": 1}, "extra"),
        ({"counts": None}, "counts"),
    ],
)
def test_a_manifest_that_is_not_right_is_refused(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    dataset = write(tmp_path / "set", [Row("1", "x", "a"), Row("2", "y", "b")])
    path = dataset.path / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=sentence):
        Dataset.open(dataset.path)


@settings(deadline=None, max_examples=40)
@given(content=st.binary())
def test_any_bytes_for_a_manifest_are_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("data")
    (folder / "dataset.json").write_bytes(content)
    with pytest.raises(InputError):
        Dataset.open(folder)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a dataset"):
        Dataset.open(tmp_path)
    dataset = write(tmp_path / "set", [Row("1", "x", "a"), Row("2", "y", "b")])
    with pytest.raises(InputError, match="has no split 'validation'; it has train, test"):
        list(dataset.rows("validation"))
    (dataset.path / "test" / "part-00000.parquet").write_bytes(b"PAR1 not parquet")
    with pytest.raises(InputError, match=r"part-00000.parquet is not a readable Parquet shard"):
        list(dataset.rows("test"))


def test_an_ingested_dataset_has_no_normalizer(tmp_path: Path) -> None:
    with dataset_writer(tmp_path / "set", ["all"]) as writer:
        writer.add("all", Row("1", "x", "a"))
        writer.finish("data.csv", ["a", "b"])
    with pytest.raises(InputError, match="has not been preprocessed"):
        _ = Dataset.open(tmp_path / "set").normalizer
