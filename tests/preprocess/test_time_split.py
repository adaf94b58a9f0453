"""A test split of the latest texts: cut by time, without copies of earlier texts."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Preprocess, Recipe, Row, dataset_writer
from textgate.components.contracts.dataset_splits import SplitChoice
from textgate.components.contracts.text_keys import canonical_text
from textgate.components.preprocess.preprocess import preprocess_dataset

SPLITS = ("train", "validation", "test")
BY_DATE = Preprocess(validation=0.2, test=0.25, test_latest_by="date")
COPY = "copy of a text from before the test split"


def row(number: int, text: str, time: str, label: str | None = None) -> Row:
    return Row(f"f.csv:{number}", text, label or "ab"[number % 2], {"topic": "x", "date": time})


def day(number: int) -> str:
    return (date(2026, 1, 1) + timedelta(days=number)).isoformat()


def preprocess(folder: Path, rows: list[Row], settings_: Preprocess = BY_DATE) -> Dataset:
    with dataset_writer(folder / "raw", ["all"], ["topic", "date"]) as writer:
        for each in rows:
            writer.add("all", each)
        writer.finish("f.csv", ["a", "b"])
    preprocess_dataset(folder / "raw", settings_, folder / "out")
    return Dataset.open(folder / "out")


def ids(dataset: Dataset, split: str) -> list[int]:
    return [int(each.id.split(":")[1]) for each in dataset.rows(split)]


def reasons(dataset: Dataset) -> dict[int, str]:
    return {int(each.id.split(":")[1]): each.reason for each in dataset.rejected()}


def test_the_latest_quarter_is_the_test_split_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = [row(number, f"text {number}", day(number)) for number in range(80)]
    dataset = preprocess(tmp_path / "1", rows[::-1])
    assert ids(dataset, "test") == list(range(79, 59, -1))
    assert sorted(ids(dataset, "train") + ids(dataset, "validation")) == list(range(60))
    assert dataset.manifest.test_split == SplitChoice(by="time", column="date", since=day(60))
    assert Dataset.open(dataset.path).manifest == dataset.manifest
    # The hash chooses the validation split among the earlier texts, as without the key.
    by_hash = preprocess(tmp_path / "2", rows, BY_DATE.model_copy(update={"test_latest_by": None}))
    assert by_hash.manifest.test_split == SplitChoice(by="hash")
    assert set(ids(dataset, "validation")) == {number for number in ids(by_hash, "validation") if number < 60}
    assert set(ids(dataset, "test")) != set(ids(by_hash, "test"))


@pytest.mark.parametrize(
    ("values", "since"),
    [
        pytest.param([f"{1_700_000_000 + 86_400 * n}" for n in range(40)], "1702592000", id="seconds"),
        pytest.param([f"{1_700_000_000_000 + n}" for n in range(40)], "1700000000030", id="milliseconds"),
        pytest.param([f"{n / 2}" for n in range(40)], "15", id="fractions"),
        pytest.param([f"{n}.5" for n in range(40)], "30.5", id="half"),
        pytest.param([f"2026-01-01T{n // 2:02}:{n % 2 * 30:02}:00Z" for n in range(40)], "2026-01-01T15:00:00+00:00"),
        pytest.param([f"2026-01-01 {n // 2:02}:{n % 2 * 30:02}" for n in range(40)], "2026-01-01T15:00:00+00:00"),
        # Later on the clock, but earlier.
        pytest.param([*[f"2026-01-02T00:{n:02}+02:00" for n in range(30)], *["2026-01-01T23:30Z"] * 10],
                     "2026-01-01T23:30:00+00:00", id="offsets"),
    ],
)  # fmt: skip
def test_dates_and_numbers_are_compared_as_points_in_time(values: list[str], since: str, tmp_path: Path) -> None:
    dataset = preprocess(tmp_path, [row(number, f"text {number}", value) for number, value in enumerate(values)])
    assert ids(dataset, "test") == list(range(30, 40))
    assert dataset.manifest.test_split is not None
    assert dataset.manifest.test_split.since == since


def test_texts_of_the_same_time_are_together_and_the_share_is_met_as_nearly_as_possible(tmp_path: Path) -> None:
    rows = [row(number, f"text {number}", day(number // 20)) for number in range(100)]
    assert len(ids(preprocess(tmp_path / "1", rows), "test")) == 20
    assert len(ids(preprocess(tmp_path / "2", rows, BY_DATE.model_copy(update={"test": 0.35})), "test")) == 40
    with pytest.raises(InputError, match=r"'date' of preprocess\.test_latest_by has the same time in every row"):
        preprocess(tmp_path / "3", rows[:20])


def test_a_later_copy_of_an_earlier_text_is_removed_from_the_test_split_and_counted(tmp_path: Path) -> None:
    rows = [row(number, f"text {number}", day(number)) for number in range(80)]
    rows += [
        row(100, "text 3", day(90), "b"),  # the same text: the earlier row is kept
        row(101, "TEXT 4!", day(90)),  # a copy by its key
        row(102, "Text 6.", day(90), "b"),  # with another label
        row(103, "text 70", day(95), "a"),  # a duplicate within the test split
        row(104, "Text 71", day(95), "a"),  # a copy within the test split, which stays
        row(105, "text 5", day(10), "b"),  # a duplicate within the earlier part
    ]
    dataset = preprocess(tmp_path, rows)
    assert dataset.manifest.test_split is not None
    assert dataset.manifest.test_split.since == day(60)
    assert reasons(dataset) == {100: COPY, 101: COPY, 102: COPY, 103: "duplicate", 105: "duplicate"}
    assert dataset.manifest.rejected == {COPY: 3, "duplicate": 2}
    assert ids(dataset, "test") == [*range(60, 80), 104]
    earlier = {3, 4, 5, 6}
    assert earlier <= {*ids(dataset, "train"), *ids(dataset, "validation")}


def test_of_equal_texts_the_earliest_row_is_kept_although_it_comes_later(tmp_path: Path) -> None:
    rows = [row(number, f"text {number}", day(number)) for number in range(80)]
    dataset = preprocess(tmp_path, [row(100, "text 2", day(70), "a"), *rows, row(101, "text 7", day(1), "b")])
    assert reasons(dataset) == {100: COPY, 7: "duplicate"}
    for split in ("train", "validation"):
        assert all(each.metadata["date"] < day(60) for each in dataset.rows(split))


def test_texts_change_sides_over_time_but_a_champion_has_not_seen_the_new_test_split(tmp_path: Path) -> None:
    rows = [row(number, f"text {number}", day(number)) for number in range(120)]
    before, after = preprocess(tmp_path / "1", rows[:80]), preprocess(tmp_path / "2", rows)
    learned = {*ids(after, "train"), *ids(after, "validation")}
    assert set(ids(before, "test")) <= learned, "what was tested is trained on later"
    assert ids(after, "test") == list(range(90, 120))
    assert not set(ids(after, "test")) & {*ids(before, "train"), *ids(before, "validation")}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", r"f\.csv:40 has '' in the column 'date' of preprocess.test_latest_by, which must be a date such as 2026"),
        ("31.03.2026", r"f\.csv:40 has '31\.03\.2026' .* exclude it with source\.where"),
        ("1700000000", "has '1700000000' .* must be a date such as 2026-03-31 as in the rows before"),
        ("nan", "has 'nan'"),
        ("inf", "has 'inf'"),
    ],
)
def test_a_row_without_a_time_is_an_input_error(value: str, message: str, tmp_path: Path) -> None:
    rows = [row(number, f"text {number}", day(number)) for number in range(40)]
    with pytest.raises(InputError, match=message):
        preprocess(tmp_path, [*rows, row(40, "text 40", value)])
    assert not (tmp_path / "out").exists()
    # A row that is rejected anyway needs no time.
    assert reasons(preprocess(tmp_path / "2", [*rows, row(40, " ", value)])) == {40: "empty text"}


def test_dates_among_numbers_are_an_input_error(tmp_path: Path) -> None:
    rows = [row(number, f"text {number}", str(number)) for number in range(40)]
    with pytest.raises(InputError, match=r"has '2026-01-01' .* which must be a number as in the rows before"):
        preprocess(tmp_path, [*rows, row(40, "text 40", "2026-01-01")])


def test_a_label_without_late_or_with_too_few_early_texts_is_an_input_error(tmp_path: Path) -> None:
    rows = [row(number, f"text {number}", day(number)) for number in range(80)]
    early = [each for number, each in enumerate(rows) if number < 30 or number % 2 == 0]
    with pytest.raises(InputError, match=r"the texts from date 2026-\d\d-\d\d on, has no text of the label 'b'"):
        preprocess(tmp_path / "1", early)
    late = [each for number, each in enumerate(rows) if number > 75 or number % 2 == 0]
    with pytest.raises(InputError, match=r"label 'b' has 0 different texts before date 2026-0.-.. but needs"):
        preprocess(tmp_path / "2", late)


ROWS = st.lists(st.tuples(st.sampled_from(["Ab", "ab!", "c", "C.", "d e", "f", ""]), st.integers(0, 19)), max_size=25)


@settings(deadline=None, max_examples=60)
@given(extra=ROWS, balance=st.booleans(), share=st.floats(0.1, 0.6))
def test_no_copy_is_on_both_sides_and_no_row_is_lost(
    extra: list[tuple[str, int]], balance: bool, share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [row(number, f"text {number}", day(number)) for number in range(20)]
    rows += [row(20 + 2 * number, text, day(time)) for number, (text, time) in enumerate(extra)]
    chosen = Preprocess(validation=0.2, test=share, test_latest_by="date", balance=balance)
    dataset = preprocess(tmp_path_factory.mktemp("p"), rows, chosen)
    kept = {split: list(dataset.rows(split)) for split in SPLITS}
    assert Counter([each.id for part in kept.values() for each in part] + [each.id for each in dataset.rejected()]) == (
        Counter(each.id for each in rows)
    )
    assert dataset.manifest.test_split is not None
    since = str(dataset.manifest.test_split.since)
    assert all((each.metadata["date"] >= since) == (split == "test") for split in SPLITS for each in kept[split])
    before, after = (
        {canonical_text(each.text) for each in part} for part in (kept["train"] + kept["validation"], kept["test"])
    )
    assert not before & after
    earlier = {canonical_text(each.text) for each in rows if each.metadata["date"] < since}
    for each in dataset.rejected():
        if each.reason == COPY:
            assert canonical_text(str(each.text)) in earlier


RECIPE = """
name: news
description: A test.
model: news
source: {uri: news.csv, metadata: [date]}
preprocess: {test_latest_by: date}
train: {family: linear}
gate: {min_f1: 0.5}
"""


def test_the_recipe_names_a_column_that_is_kept_and_no_other_test_split() -> None:
    assert Recipe.parse(RECIPE, "r.yaml").preprocess.test_latest_by == "date"
    with pytest.raises(InputError, match=r"names 'time', which is not a column of source\.metadata: add it there"):
        Recipe.parse(RECIPE, "r.yaml", ["preprocess.test_latest_by=time"])
    with pytest.raises(InputError, match=r"source\.test selects one: leave out one of the two"):
        Recipe.parse(RECIPE, "r.yaml", ["source.test=split == test"])
    with pytest.raises(InputError, match=r"source\.validation selects them without regard to time: leave out one of"):
        Recipe.parse(RECIPE, "r.yaml", ["source.validation=split == dev"])


def test_a_date_is_read_in_utc() -> None:
    from textgate.components.preprocess.time_split import TimeColumn

    column = TimeColumn("date")
    assert column.time(row(0, "x", "2026-01-01")) == datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert column.text(column.time(row(0, "x", "2026-01-01T01:00+01:00"))) == "2026-01-01"
