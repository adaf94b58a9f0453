from typing import Any

import pytest

from textgate.components.contracts import InputError
from textgate.components.ingest.row_filter import RowFilter

ROW = {"source": "imdb", "stars": "4", "year": 1999, "score": 2.5, "note": None, "huge": 10**400, "meta.by.age": 3}


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("source == imdb", True),
        ('source == "imdb"', True),
        ("source != imdb", False),
        ("stars == 4", True),
        ("stars >= 4", True),
        ("year < 1999", False),
        ("score > -1", True),
        ("source in [imdb, rotten_tomatoes]", True),
        ("source not in ('imdb',)", False),
        ("source == imdb and year > 2000", False),
        ("source == other or year > 1990", True),
        ("not (source == imdb)", False),
        ("note == None_", False),
        ("note != x", True),
        ("source > 3", False),
        ("absent == 1", False),
        ("huge > 1", False),
        ("meta.by.age == 3", True),
        ("meta.by == 3", False),
    ],
)
def test_a_filter_matches_rows(expression: str, matches: bool) -> None:
    assert RowFilter.parse(expression).matches(ROW) is matches


def test_a_filter_lists_its_columns() -> None:
    assert RowFilter.parse("a == 1 and (b in [2] or not c.d > 3)").columns == {"a", "b", "c.d"}


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "source",
        "source ==",
        "1 == source",
        "a == b == c",
        "__import__('os').system('x')",
        "a == f()",
        "f().b == 1",
        "a == [1]",
        "a in b",
        "a > word",
        "a is b",
        "a == 1; b == 2",
        "(" * 500,
        "not " * 500 + "a == 1",
        "not " * 20_000 + "a == 1",
        "a == 'x\x00'",
    ],
)
def test_other_expressions_are_input_errors(expression: str) -> None:
    with pytest.raises(InputError, match="is not a comparison of columns with values"):
        RowFilter.parse(expression)


def test_a_filter_runs_no_code() -> None:
    class Spy:
        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __str__(self) -> str:
            return "spy"

    row: dict[str, Any] = {"a": Spy()}
    assert RowFilter.parse("a == spy").matches(row)
