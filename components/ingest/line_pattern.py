"""Reader of a text file whose lines are matched by a regular expression, such as ``LABEL:sub text`` of TREC."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from textgate.components.ingest.physical_lines import read_lines
from textgate.components.ingest.raw_rows import RawRow, printable_name, require_columns
from textgate.components.ingest.rejection_reasons import NOT_A_RECORD


def read_pattern(
    path: Path, pattern: str, encoding: str, max_line_bytes: int, required: Sequence[str]
) -> Iterator[RawRow]:
    """Yield a row for each line that is not blank; a line that the pattern does not match is rejected.

    Args:
        path: Text file.
        pattern: Regular expression of a complete line; its named groups are the columns.
        encoding: Encoding of the file.
        max_line_bytes: Limit of a line.
        required: Columns that must exist.

    Raises:
        InputError: A required column is no group of the pattern, or the file cannot be read.
    """
    expression, name = re.compile(pattern), printable_name(path)
    require_columns(required, list(expression.groupindex), "source.format.pattern")
    for number, line in enumerate(read_lines(path, encoding, max_line_bytes), 1):
        row_id = f"{name}:{number}"
        if line.reason:
            yield RawRow(row_id, None, line.reason)
        elif line.text.strip():
            match = expression.fullmatch(line.text)
            yield RawRow(row_id, match.groupdict() if match else None, "" if match else NOT_A_RECORD)
