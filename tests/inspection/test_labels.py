"""Labels that may be one, labels that look like missing values, and names of splits."""

import pytest

from textgate.components.ingest.row_filter import RowFilter
from textgate.pipelines.inspection.labels import is_missing_marker, spelling_groups
from textgate.pipelines.inspection.splits import split_filter, split_role


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["Spam", "spam", "SPAM", "ham"], [["SPAM", "Spam", "spam"]]),
        (["caf\u00e9", "cafe\u0301", "cafe"], [["cafe\u0301", "caf\u00e9"]]),
        (["0", "0.0", "1", "01", "1.0", "10"], [["0", "0.0"], ["01", "1", "1.0"]]),
        (["True", "true", "1"], [["True", "true"]]),
        (["not-hate", "not hate", "hate"], [["not hate", "not-hate"]]),
        (["1e999999999", "inf", "nan", "a"], []),
        (["-1", "1"], []),
        (["c", "c++", "c#"], []),
    ],
)
def test_spellings_that_may_be_one_label(labels: list[str], groups: list[list[str]]) -> None:
    assert spelling_groups(labels) == groups


def test_missing_markers() -> None:
    assert all(map(is_missing_marker, ["NaN", "N/A", "null", "None", "?", "-"]))
    assert not any(map(is_missing_marker, ["no", "0", "other", "nah", "nano"]))


def test_the_use_of_a_split_is_a_word_of_its_name() -> None:
    assert [split_role(name) for name in ("Train", "oos_val", "dev-2", "imdb.test", "testimony", "part-0001")] == [
        *("train", "validation", "validation", "test", None, None)
    ]


def test_a_split_filter_selects_the_named_splits_only() -> None:
    names = ["test", 'odd "name"', "in"]
    selected = split_filter("split", names)
    assert selected
    row_filter = RowFilter.parse(selected)
    assert all(row_filter.matches({"split": name}) for name in names)
    assert not row_filter.matches({"split": "train"})
    assert split_filter("split", ["test"]) == "split == test"
    assert split_filter("my split", ["test"]) is None
