import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Rejected, Row, TextNormalizer, dataset_writer

TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


def write(path: Path, rows: list[Row], rejected: list[Rejected] | None = None, shard: int = 50_000) -> Dataset:
    with dataset_writer(path, ["train", "test"], rows_per_shard=shard) as writer:
        for index, row in enumerate(rows):
            writer.add("test" if index % 3 == 0 else "train", row)
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
def test_rows_and_rejected_rows_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str, str]], rejected: list[Rejected], shard: int
) -> None:
    rows = [Row(*text) for text in texts]
    dataset = write(tmp_path_factory.mktemp("data") / "set", rows, rejected, shard)
    assert list(dataset.rows("test")) == rows[::3]
    assert [row for index, row in enumerate(rows) if index % 3] == list(dataset.rows("train"))
    assert [row.reason for row in dataset.rejected()] == [row.reason for row in rejected]
    assert dataset.manifest.rows_in == len(rows) + len(rejected)
    assert dataset.manifest.rows_filtered == 7
    ids, texts_read, classes = dataset.columns("test")
    assert list(zip(ids, texts_read, ["ab"[index] for index in classes], strict=True)) == texts[::3]


def test_the_fingerprint_depends_on_the_content_only(tmp_path: Path) -> None:
    rows = [Row(str(number), f"text {number}", "ab"[number % 2]) for number in range(10)]
    first, second = write(tmp_path / "1", rows), write(tmp_path / "2", rows, shard=2)
    assert first.manifest.fingerprint == second.manifest.fingerprint
    changed = write(tmp_path / "3", [*rows[:-1], Row("9", "text 9.", "b")])
    assert changed.manifest.fingerprint != first.manifest.fingerprint


GENRES = ["thriller", "", "comédie"]


def write_with_metadata(path: Path, columns: list[str], rows: list[Row], shard: int = 50_000) -> Dataset:
    with dataset_writer(path, ["train", "test"], columns, rows_per_shard=shard) as writer:
        for index, row in enumerate(rows):
            writer.add("test" if index % 3 == 0 else "train", row)
        writer.finish("data.csv", ["a", "b"])
    return Dataset.open(path)


def rows_with_metadata(count: int) -> list[Row]:
    return [
        Row(str(n), f"text {n}", "ab"[n % 2], {"year": str(1990 + n % 7), "genre": GENRES[n % 3]}) for n in range(count)
    ]


@settings(deadline=None, max_examples=40)
@given(
    columns=st.lists(TEXT | st.just(""), min_size=1, max_size=3, unique=True),
    values=st.lists(st.text(st.characters(codec="utf-8"), max_size=4), min_size=3, max_size=3),
    count=st.integers(0, 8),
    shard=st.integers(1, 5),
)
def test_metadata_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str], values: list[str], count: int, shard: int
) -> None:
    rows = [
        Row(str(n), f"text {n}", "ab"[n % 2], {name: values[(n + at) % 3] for at, name in enumerate(columns)})
        for n in range(count)
    ]
    dataset = write_with_metadata(tmp_path_factory.mktemp("data") / "set", columns, rows, shard)
    assert dataset.manifest.metadata == columns
    assert list(dataset.rows("test")) == rows[::3]
    assert dataset.metadata("test") == [row.metadata for row in rows[::3]]
    assert dataset.metadata("train") == [row.metadata for index, row in enumerate(rows) if index % 3]
    assert dataset.columns("test")[0] == [row.id for row in rows[::3]]


def test_metadata_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    rows = rows_with_metadata(10)
    known = {write_with_metadata(tmp_path / "1", ["genre", "year"], rows).manifest.fingerprint}
    known.add(write_with_metadata(tmp_path / "2", ["genre", "year"], rows, shard=2).manifest.fingerprint)
    assert len(known) == 1
    changed = [*rows[:-1], Row("9", "text 9", "b", {"year": "1990", "genre": "western"})]
    known.add(write_with_metadata(tmp_path / "3", ["genre", "year"], changed).manifest.fingerprint)
    renamed = [
        Row(row.id, row.text, row.label, {"kind": row.metadata["genre"], "year": row.metadata["year"]}) for row in rows
    ]
    known.add(write_with_metadata(tmp_path / "4", ["kind", "year"], renamed).manifest.fingerprint)
    shifted = [Row(row.id, row.text, row.label, {"kind": "".join(row.metadata.values()), "year": ""}) for row in rows]
    known.add(write_with_metadata(tmp_path / "5", ["kind", "year"], shifted).manifest.fingerprint)
    bare = [Row(row.id, row.text, row.label) for row in rows]
    known.add(write_with_metadata(tmp_path / "6", [], bare).manifest.fingerprint)
    assert len(known) == 5


def test_a_dataset_without_metadata_keeps_its_former_fingerprint(tmp_path: Path) -> None:
    dataset = write(tmp_path / "set", [Row(str(number), f"text {number}", "ab"[number % 2]) for number in range(4)])
    # As written before metadata existed.
    assert dataset.manifest.fingerprint == "77c13c3d5aab8299f448f9ca55a4bab05b62e827ff44bfa77f68c107e76f53e5"
    assert pq.read_schema(dataset.path / "test" / "part-00000.parquet").names == ["id", "text", "label"]
    manifest = json.loads((dataset.path / "dataset.json").read_text())
    del manifest["metadata"]
    (dataset.path / "dataset.json").write_text(json.dumps(manifest))
    assert Dataset.open(dataset.path).metadata("train") == [{}, {}]


@pytest.mark.parametrize("metadata", [{}, {"genre": "x"}, {"genre": "x", "year": "1", "studio": "A"}])
def test_a_row_with_other_metadata_columns_is_not_written(tmp_path: Path, metadata: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"row 1 has the metadata columns .*, not \['genre', 'year'\]"):
        write_with_metadata(tmp_path / "set", ["genre", "year"], [Row("1", "text", "a", metadata)])
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_does_not_match_the_manifest_is_an_input_error(tmp_path: Path) -> None:
    dataset = write_with_metadata(tmp_path / "set", ["genre", "year"], rows_with_metadata(12))
    with pytest.raises(InputError, match="has no split 'validation'; it has train, test"):
        dataset.metadata("validation")
    (shard,) = (dataset.path / "test").glob("*.parquet")
    table, content = pq.read_table(shard), shard.read_bytes()

    pq.write_table(table.slice(1), shard)
    with pytest.raises(InputError, match=r"test holds other rows than dataset\.json counts"):
        dataset.metadata("test")
    pq.write_table(table.drop_columns("metadata"), shard)
    with pytest.raises(InputError, match="its columns are not id, text, label, metadata, each of its type"):
        dataset.metadata("test")
    for values in ([None] * 4, [{"genre": None, "year": "1990"}] * 4):
        column = pa.array(values, table.schema.field("metadata").type)
        pq.write_table(table.set_column(3, "metadata", column), shard)
        with pytest.raises(InputError, match="has a row without id, text, label or key, or with half of its metadata"):
            dataset.metadata("test")
    shard.write_bytes(content)
    assert len(dataset.metadata("test")) == 4


def test_long_metadata_fills_a_shard(tmp_path: Path) -> None:
    with dataset_writer(tmp_path / "set", ["all"], ["summary"]) as writer:
        for number in range(6):
            writer.add("all", Row(str(number), "text", "ab"[number % 2], {"summary": "x" * 9_000_000}))
        writer.finish("data.csv", ["a", "b"])
    assert len(list((tmp_path / "set" / "all").glob("*.parquet"))) == 2


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), dataset_writer(tmp_path / "set", ["train"]) as writer:
        writer.add("train", Row("1", "text", "a"))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_label_is_not_written(tmp_path: Path) -> None:
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
def test_a_wrong_manifest_is_an_input_error(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    dataset = write(tmp_path / "set", [Row("1", "x", "a"), Row("2", "y", "b")])
    path = dataset.path / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=sentence):
        Dataset.open(dataset.path)


@settings(deadline=None, max_examples=40)
@given(content=st.binary())
def test_arbitrary_bytes_as_a_manifest_are_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("data")
    (folder / "dataset.json").write_bytes(content)
    with pytest.raises(InputError):
        Dataset.open(folder)


def test_a_missing_dataset_or_split_is_named(tmp_path: Path) -> None:
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


def test_the_text_of_a_rejected_row_is_shortened_and_made_storable(tmp_path: Path) -> None:
    rejected = [Rejected("1", "empty", None, None), Rejected("2", "broken", "a\udfff", "\ud800" + "é" * 300)]
    rows = list(write(tmp_path / "set", [], rejected).rejected())
    assert rows == [rejected[0], Rejected("2", "broken", "a?", "?" + "é" * 199)]


def test_a_text_that_cannot_be_stored_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / "set", [Row("1", "\ud800", "a")])
    assert list(tmp_path.iterdir()) == []


ROWS = [Row(str(number), f"text {number}", "ab"[number % 2]) for number in range(12)]


def test_a_missing_shard_is_an_input_error(tmp_path: Path) -> None:
    dataset = write(tmp_path / "set", ROWS, shard=2)
    (dataset.path / "train" / "part-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"train holds other rows than dataset\.json counts"):
        list(dataset.rows("train"))
    assert len(list(dataset.rows("test"))) == 4


def test_rows_that_the_manifest_does_not_count_are_an_input_error(tmp_path: Path) -> None:
    dataset = write(tmp_path / "set", ROWS)
    shard = dataset.path / "train" / "part-00000.parquet"
    (dataset.path / "train" / "part-00001.parquet").write_bytes(shard.read_bytes())
    with pytest.raises(InputError, match=r"train holds other rows than dataset\.json counts"):
        dataset.columns("train")


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"id": ["1"], "text": ["x"]}, "its columns are not id, text, label"),
        ({"id": ["1"], "text": [5], "label": ["a"]}, "its columns are not id, text, label, each of its type"),
        ({"id": ["1"], "text": [None], "label": ["a"]}, "is not a readable Parquet shard|without id, text or label"),
        ({"id": ["1"], "text": ["x"], "label": ["stranger"]}, "holds other rows"),
    ],
)
def test_a_shard_with_other_columns_is_an_input_error(
    tmp_path: Path, columns: dict[str, list[object]], sentence: str
) -> None:
    dataset = write(tmp_path / "set", [Row("1", "x", "a")])
    pq.write_table(pa.table(columns), dataset.path / "test" / "part-00000.parquet")
    with pytest.raises(InputError, match=sentence):
        dataset.columns("test")


def test_a_row_without_text_is_an_input_error(tmp_path: Path) -> None:
    dataset = write(tmp_path / "set", [Row("1", "x", "a")])
    strings = pa.array([None], pa.string())
    table = pa.table({"id": pa.array(["1"]), "text": strings, "label": pa.array(["a"])})
    pq.write_table(table, dataset.path / "test" / "part-00000.parquet")
    with pytest.raises(InputError, match="has a row without id, text, label or key"):
        dataset.columns("test")


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path, bytes]:
    dataset = write(tmp_path_factory.mktemp("data") / "set", ROWS)
    path = dataset.path / "train" / "part-00000.parquet"
    return dataset, path, path.read_bytes()


@settings(deadline=None, max_examples=150)
@given(position=st.integers(0), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_shard_is_an_input_error(
    shard: tuple[Dataset, Path, bytes], position: int, bit: int, cut: bool
) -> None:
    dataset, path, content = shard
    damaged = bytearray(content)
    damaged[position % len(content)] ^= 1 << bit
    path.write_bytes(content[: position % len(content)] if cut else damaged)
    try:
        rows = list(dataset.rows("train"))
    except InputError:
        pass
    else:
        assert len(rows) == 8
        assert not cut


@pytest.mark.parametrize("content", [None, b"", b"PAR1 not parquet"])
def test_unreadable_rejected_rows_are_an_input_error(tmp_path: Path, content: bytes | None) -> None:
    dataset = write(tmp_path / "set", [Row("1", "x", "a")])
    (dataset.path / "rejected.parquet").unlink()
    if content is not None:
        (dataset.path / "rejected.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"rejected\.parquet is not a readable Parquet shard"):
        list(dataset.rejected())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(
    content=JSON,
    key=st.sampled_from(["counts", "rows_in", "rejected", "normalizer", "labels", "format_version", "metadata"]),
)
def test_arbitrary_json_as_a_manifest_or_a_value_is_accepted_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, content: object, key: str
) -> None:
    dataset = write(tmp_path_factory.mktemp("data") / "set", ROWS)
    path = dataset.path / "dataset.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"dataset\.json is not a dataset manifest"):
        Dataset.open(dataset.path)
    path.write_text(json.dumps({**manifest, key: content}))
    try:
        opened = Dataset.open(dataset.path).manifest
    except InputError as error:
        message = str(error)
    else:
        message = key
        assert opened.rows_in == opened.rows_out + sum(opened.rejected.values())
    assert key in message or "rows in" in message


def test_long_texts_fill_a_shard_before_its_row_limit(tmp_path: Path) -> None:
    long = [Row(str(number), f"{number}" + "x" * 9_000_000, "ab"[number % 2]) for number in range(6)]
    with dataset_writer(tmp_path / "set", ["all"]) as writer:
        for row in long:
            writer.add("all", row)
        writer.finish("data.csv", ["a", "b"])
    assert len(list((tmp_path / "set" / "all").glob("*.parquet"))) == 2
    assert [row.id for row in Dataset.open(tmp_path / "set").rows("all")] == [row.id for row in long]
