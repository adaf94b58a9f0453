"""Row filters of a source: the rows to read, and those of the given splits."""

from dataclasses import dataclass
from typing import Any

from textgate.components.contracts import InputError, Source
from textgate.components.ingest.raw_rows import RawRow, has_surrogate, to_text
from textgate.components.ingest.row_filter import RowFilter

ALL = "all"
"""Split of all rows that neither ``source.test`` nor ``source.validation`` selects."""
TEST = "test"
"""Split of the rows that ``source.test`` selects."""
VALIDATION = "validation"
"""Split of the rows that ``source.validation`` selects."""


@dataclass(frozen=True)
class SourceFilters:
    """Parsed row filters of a source."""

    where: RowFilter | None
    """Selects the rows to read."""
    test: RowFilter | None
    """Selects the given test split."""
    validation: RowFilter | None
    """Selects the given validation split."""

    @classmethod
    def parse(cls, source: Source) -> "SourceFilters":
        """Parse the filters of a source.

        Raises:
            InputError: A filter cannot be parsed.
        """
        expressions = (source.where, source.test, source.validation)
        return cls(*(RowFilter.parse(text) if text else None for text in expressions))

    def selects(self, row: RawRow) -> bool:
        """Return whether ``source.where`` selects a row; it selects rows of which it cannot be known."""
        if self.where is None:
            return True
        if row.columns is None:
            known = row.known or {}
            if any(name not in known or has_surrogate(to_text(known[name])) for name in self.where.columns):
                return True
        return self.where.matches(known_values(row))

    def columns(self, source: Source) -> list[str]:
        """Return the columns to read: text, label, metadata, and the filters' columns."""
        row_filters = (self.where, self.test, self.validation)
        filtered = {column for row_filter in row_filters if row_filter for column in row_filter.columns}
        return list(dict.fromkeys([*source.text_columns, source.label, *source.metadata, *sorted(filtered)]))

    def split(self, row: RawRow) -> str:
        """Return the split of a row, as far as its values are known.

        Raises:
            InputError: Both ``source.test`` and ``source.validation`` select the row.
        """
        columns = known_values(row)
        in_test = self.test is not None and self.test.matches(columns)
        in_validation = self.validation is not None and self.validation.matches(columns)
        if self.test and self.validation and in_test and in_validation and row.columns is not None:
            raise InputError(
                f"both source.test {self.test.expression!r} and source.validation {self.validation.expression!r} "
                f"select the row {row.id}: change one of them, because a row is in one split only"
            )
        return TEST if in_test else VALIDATION if in_validation else ALL


def known_values(row: RawRow) -> dict[str, Any]:
    """Return the values of a row; of one that could not be read those that are known."""
    return row.columns if row.columns is not None else row.known or {}
