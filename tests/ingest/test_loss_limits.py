"""Rows that ingest rejects: their account, and the limits that stop a run before anything is written."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textgate.components.contracts import Dataset, InputError, Preprocess, Source
from textgate.components.contracts.data_account import account_lines
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.losses import Loss, RejectedExample
from textgate.components.ingest.ingest import ingest_source
from textgate.components.ingest.source_parts import ingest_part, join_parts
from textgate.components.preprocess.preprocess import preprocess_dataset


def write(path: Path, rows: Sequence[tuple[bytes, bytes]]) -> Path:
    path.write_bytes(b"text,label\n" + b"".join(b",".join(row) + b"\n" for row in rows))
    return path


def rows(
    label: bytes, good: int, undecodable: int = 0, empty: int = 0, unlabelled: int = 0
) -> list[tuple[bytes, bytes]]:
    texts = [b"%s text %d" % (label, number) for number in range(good)] + [b""] * empty
    broken = [(b"caf\xe9 %d" % number, label) for number in range(undecodable)]
    return [*((text, label) for text in texts), *broken, *((b"text", b"") for _ in range(unlabelled))]


def ingest(path: Path, **settings: Any) -> DatasetManifest:
    settings = {"format": {"encoding": "utf-8"}, **settings}
    return ingest_source(Source(uri=str(path), **settings), path.parent / "out", path.parent / "downloads")


def groups(manifest: DatasetManifest) -> dict[tuple[str, str | None, str | None], int]:
    return {(loss.reason, loss.label, loss.split): loss.rows for loss in manifest.losses or []}


def test_a_run_stops_where_more_rows_are_rejected_than_the_limit_allows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [*rows(b"ham", 5), *rows(b"spam", 2, empty=2, unlabelled=1)])
    with pytest.raises(InputError) as stopped:
        ingest(path)
    assert str(stopped.value) == (
        f"30.0% of the 10 rows of {path} are rejected, more than source.max_rejected=0.2: 2 empty text ('spam' 2 of 4 "
        "(50.0%); such as a.csv:8), 1 missing label (such as a.csv:10 'text'); mend the source, leave rows out with "
        "source.where, or set source.max_rejected=0.3"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]
    assert ingest(path, max_rejected=0.3).rejected == {"empty text": 2, "missing label": 1}


@pytest.mark.parametrize(
    ("rejected", "limit", "stops"), [(1, 0.2, False), (2, 0.1, False), (3, 0.2, True), (1, 0, True)]
)
def test_two_rows_stop_a_run_only_if_none_may_be_rejected(
    rejected: int, limit: float, stops: bool, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.csv", [*rows(b"ham", 6), *rows(b"spam", 4 - rejected, empty=rejected)])
    if stops:
        with pytest.raises(InputError, match=r"more than source\.max_rejected="):
            ingest(path, max_rejected=limit)
    else:
        assert ingest(path, max_rejected=limit).rejected == {"empty text": rejected}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_run_stops_where_a_class_loses_rows_by_decoding(suffix: str, tmp_path: Path) -> None:
    all_rows = [*rows(b"ham", 190, undecodable=2), *rows(b"spam", 30, undecodable=4)]
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        write(path, all_rows)
    elif suffix == "jsonl":
        path.write_bytes(b"".join(b'{"text": "%s", "label": "%s"}\n' % row for row in all_rows))
    else:
        columns = [pa.array([row[at] for row in all_rows], pa.binary()) for at in (0, 1)]
        strings = [pa.Array.from_buffers(pa.string(), len(all_rows), column.buffers()) for column in columns]
        pq.write_table(pa.table(strings, ["text", "label"]), path)
    with pytest.raises(InputError) as stopped:
        ingest(path)
    assert str(stopped.value).startswith(
        f"11.8% of the 34 rows of the label 'spam' of {path} are rejected because of undecodable bytes, more than "
        "source.max_undecodable=0.05: 6 undecodable bytes ('spam' 4 of 34 (11.8%), 'ham' 2 of 192 (1.0%); such as "
        f"a.{suffix}:223"
    )
    assert str(stopped.value).endswith("in UTF-8, or set source.max_undecodable=0.12")
    assert "source.format.encoding" in str(stopped.value)
    manifest = ingest(path, max_undecodable=0.12)
    assert groups(manifest) == {("undecodable bytes", "ham", "all"): 2, ("undecodable bytes", "spam", "all"): 4}


def test_undecodable_rows_of_no_known_class_count_among_all_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [*rows(b"ham", 30), *rows(b"spam", 30), *[(b"text", b"caf\xe9")] * 5])
    with pytest.raises(InputError, match=r"7.7% of the 65 rows of .*a.csv are rejected because of undecodable bytes"):
        ingest(path)


def test_a_class_that_is_lost_completely_stops_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [*rows(b"ham", 90), *rows(b"eggs", 90), *rows(b"spam", 0, undecodable=4)])
    with pytest.raises(InputError, match=r"100.0% of the 4 rows of the label 'spam'"):
        ingest(path)


def test_rows_that_the_recipe_leaves_out_are_no_loss(tmp_path: Path) -> None:
    stars = [row for star in b"12345" for row in rows(bytes([star]), 10)]
    path = write(tmp_path / "a.csv", stars)
    manifest = ingest(path, labels={"1": "bad", "5": "good"})
    assert (manifest.rejected, manifest.warnings) == ({"unknown label": 30}, [])
    (tmp_path / "out").rename(tmp_path / "first")
    assert ingest(path, where="label in ['1', '5']").rows_filtered == 30
    (tmp_path / "out").rename(tmp_path / "second")
    # Their share is taken of the rows that are wanted: 4 of 24.
    path = write(tmp_path / "b.csv", [*stars, *rows(b"1", 0, empty=4)])
    with pytest.raises(InputError, match=r"16\.7% of the 24 rows"):
        ingest(path, labels={"1": "bad", "5": "good"}, max_rejected=0.16)


def test_a_misspelled_label_is_a_loss(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [*rows(b"spam", 10), *rows(b"Spam", 10), *rows(b"ham", 10), *rows(b"eggs", 10)])
    with pytest.raises(InputError, match=r"33.3% of the 30 rows .*: 10 unknown label \('Spam' 10; such as a.csv:11"):
        ingest(path, labels={"spam": "spam", "ham": "ham"})


def test_undecodable_rows_that_the_filter_leaves_out_are_no_loss(tmp_path: Path) -> None:
    lines = [b"%s text %d,%s,en" % (label, n, label) for label in (b"a", b"b") for n in range(20)]
    lines += [b"caf\xe9 %d,a,fr" % n for n in range(20)] + [b"text,a,\xe9n"]
    (tmp_path / "a.csv").write_bytes(b"text,label,language\n" + b"\n".join(lines))
    manifest = ingest(tmp_path / "a.csv", where="language == en")
    # The language of the last row is unknown.
    assert (manifest.rows_filtered, manifest.rejected) == (20, {"undecodable bytes": 1})


def test_the_account_names_reasons_classes_splits_and_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{label} text {n},{label},{'test' if n % 3 == 0 else 'train'}" for label in "ab" for n in range(30)]
    lines += [",a,test", *[f",{label},train" for label in "aaab"], "a text 1,a,train"]
    (tmp_path / "a.csv").write_text("text,label,fold\n" + "\n".join(lines))
    manifest = ingest(tmp_path / "a.csv", test="fold == test")
    assert groups(manifest) == {
        ("empty text", "a", "all"): 3,
        ("empty text", "b", "all"): 1,
        ("empty text", "a", "test"): 1,
    }
    account = [
        "66 rows in, 61 kept (all 41, test 20), 5 rejected",
        "5 empty text ('a' 4 of 35 (11.4%), 'b' 1 of 31 (3.2%); 1 in the given split test; such as a.csv:62)",
    ]
    assert account_lines(manifest) == account
    assert capsys.readouterr().out.splitlines()[-2:] == account
    clean = preprocess_dataset(tmp_path / "out", Preprocess(validation=0.5), tmp_path / "clean")
    assert groups(clean) == groups(manifest) | {("duplicate", "a", "all"): 1}
    printed = capsys.readouterr().out.splitlines()[-3:]
    assert printed[0].startswith("66 rows in, 60 kept (train ")
    assert printed[0].endswith(", test 20), 6 rejected")
    assert printed[1] == account[1]
    assert printed[2] == "1 duplicate ('a' 1 of 35 (2.9%); such as a.csv:66 'a text 1')"
    assert Dataset.open(tmp_path / "clean").manifest == clean


def test_an_account_without_rejections_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest(write(tmp_path / "a.csv", [*rows(b"ham", 1_200), *rows(b"spam", 3)]))
    assert capsys.readouterr().out.splitlines()[-1] == "1,203 rows in, 1,203 kept"


def test_three_examples_of_each_group_are_kept(tmp_path: Path) -> None:
    long = b"x" * 300
    path = write(
        tmp_path / "a.csv", [*rows(b"a", 90), *rows(b"b", 90), *[(b"%d %s" % (n, long), b"") for n in range(9)]]
    )
    (loss,) = ingest(path).losses or []
    assert loss == Loss(
        reason="missing label",
        label=None,
        split="all",
        rows=9,
        examples=[RejectedExample(id=f"a.csv:{181 + n}", text=f"{n} {'x' * 98}") for n in range(3)],
    )


def test_labels_beyond_a_thousand_are_counted_without_their_names(tmp_path: Path) -> None:
    strange = [(b"text", b"label %d" % n) for n in range(1_500)]
    manifest = ingest(write(tmp_path / "a.csv", [(b"x", b"a"), (b"y", b"b"), *strange]), labels={"a": "A", "b": "B"})
    losses = manifest.losses or []
    assert len(losses) == 1_001
    assert Counter(loss.label is None for loss in losses) == {False: 1_000, True: 1}
    assert sum(loss.rows for loss in losses) == 1_500


def test_the_limits_hold_for_all_parts_together(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "0.csv", [*rows(b"ham", 40), *rows(b"spam", 40)])
    write(tmp_path / "set" / "1.csv", [*rows(b"ham", 5, empty=9), *rows(b"spam", 5), *rows(b"SPAM", 1)])
    source = Source(uri=str(tmp_path / "set"))

    def join(source: Source) -> DatasetManifest:
        parts = [tmp_path / f"part-{number}-{source.max_rejected}" for number in range(2)]
        for number, part in enumerate(parts):
            ingest_part(source, number, 2, part, tmp_path / "downloads")
        return join_parts(source, parts, tmp_path / f"joined-{source.max_rejected}", tmp_path / "downloads")

    joined = join(source)
    assert joined == ingest_source(source, tmp_path / "whole", tmp_path / "downloads")
    assert groups(joined) == {("empty text", "ham", "all"): 9}
    assert "'spam' (45), 'SPAM' (1)" in joined.warnings[0]
    with pytest.raises(InputError, match=r"9.0% of the 100 rows"):
        join(source.model_copy(update={"max_rejected": 0.05}))
