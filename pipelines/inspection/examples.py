"""Examples of groups of rows, whose texts are read from the source again."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from textgate.components.contracts import Rejected, Row
from textgate.components.ingest.ingest import accept_row
from textgate.components.ingest.labels import LabelNames
from textgate.components.ingest.source_filters import ALL
from textgate.components.report.charts import shorten
from textgate.pipelines.inspection.columns import SourceColumns, split_of
from textgate.pipelines.inspection.inspection import ExampleRow, TextExample
from textgate.pipelines.inspection.personal_data import mask_personal_data

_CHARACTERS = 160


class RowGroup(NamedTuple):
    """Rows with one text."""

    rows: int
    shown: list[int]
    """Indexes of some of the rows among the usable ones."""


class Examples:
    """Rows of the groups that are shown, read from the source up to the last of them."""

    def __init__(self, found: SourceColumns, groups: Sequence[RowGroup]) -> None:
        wanted = {row for group in groups for row in group.shown}
        self._rows: Mapping[int, tuple[Row, str]] = _read_rows(found, wanted) if wanted else {}

    def show(self, groups: Sequence[RowGroup]) -> list[TextExample]:
        """Return the groups as examples; texts are shortened, and personal data in them masked."""
        return [
            TextExample(
                text=shorten(mask_personal_data(" ".join(self._rows[group.shown[0]][0].text.split())), _CHARACTERS),
                rows=group.rows,
                shown=[
                    ExampleRow(id=row.id, label=row.label, split=split)
                    for row, split in map(self._rows.__getitem__, group.shown)
                ],
            )
            for group in groups
        ]


def _read_rows(found: SourceColumns, wanted: set[int]) -> dict[int, tuple[Row, str]]:
    """Return the usable rows with the given indexes, and their splits."""
    rows: dict[int, tuple[Row, str]] = {}
    names, index = LabelNames(found.source.labels), 0
    for raw in found.rows():
        row = accept_row(raw, found.source, names, ALL)
        if isinstance(row, Rejected):
            continue
        if index in wanted:
            rows[index] = row, split_of(found, raw)
            if len(rows) == len(wanted):
                break
        index += 1
    return rows
