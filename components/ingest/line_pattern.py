"""Reader of lines that a regular expression takes apart, such as ``LABEL:sub text`` of TREC."""

import re
from collections.abc import Generator, Sequence

from textgate.components.ingest.raw_rows import RawRow, require_columns
from textgate.components.ingest.rejection_reasons import NOT_A_RECORD
from textgate.components.ingest.text_lines import TextLines, undecodable_column


def read_pattern(lines: TextLines, pattern: str, required: Sequence[str]) -> Generator[RawRow, None, int]:
    """Yield a row for each line that is not blank; a line that the pattern does not match is rejected.

    Args:
        lines: Lines of the file.
        pattern: Regular expression of a complete line; its named groups are the columns.
        required: Columns that must exist.

    Returns:
        Number of rows.

    Raises:
        InputError: A required column is no group of the pattern.
    """
    expression, number = re.compile(pattern), 0
    require_columns(required, list(expression.groupindex), "source.format.pattern")
    for line in iter(lines.read_line, ""):
        if not line.strip():
            continue
        number += 1
        row_id = f"{lines.name}:{number}"
        match = expression.fullmatch(lines.shown(line))
        if reason := lines.problem(line):
            known = match.groupdict() if match else None
            yield RawRow(row_id, None, reason, lines.count, undecodable_column(line), lines.shown(line), known)
        elif match:
            yield RawRow(row_id, match.groupdict(), "", lines.count)
        else:
            yield RawRow(row_id, None, NOT_A_RECORD, lines.count, None, lines.shown(line))
    return number
