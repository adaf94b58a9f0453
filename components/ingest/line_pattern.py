"""Reader of lines that a regular expression takes apart, such as ``LABEL:sub text`` of TREC."""

from collections.abc import Generator, Sequence

from textgate.components.contracts import InputError
from textgate.components.ingest.raw_rows import RawRow, require_columns
from textgate.components.ingest.rejection_reasons import NOT_A_RECORD
from textgate.components.ingest.text_lines import TextLines, undecodable_column

_LINE_SECONDS = 10


def read_pattern(lines: TextLines, pattern: str, required: Sequence[str]) -> Generator[RawRow, None, int]:
    """Yield a row for each line that is not blank; a line that the pattern does not match is rejected.

    Args:
        lines: Lines of the file.
        pattern: Regular expression of a complete line; its named groups are the columns.
        required: Columns that must exist.

    Returns:
        Number of rows.

    Raises:
        InputError: A required column is no group of the pattern, or the pattern takes over 10 s for a line.
    """
    import regex

    expression, number = regex.compile(pattern), 0
    require_columns(required, list(expression.groupindex), "source.format.pattern")
    for line in iter(lines.read_line, ""):
        if not line.strip():
            continue
        number += 1
        row_id = f"{lines.name}:{number}"
        try:
            match = expression.fullmatch(lines.shown(line), timeout=_LINE_SECONDS)
        except TimeoutError as error:
            raise InputError(
                f"source.format.pattern takes over {_LINE_SECONDS} s for line {lines.count:,} of {lines.name}: avoid "
                "nested repetitions such as (a+)+, or write them as an atomic group (?>…)"
            ) from error
        if reason := lines.problem(line):
            known = match.groupdict() if match else None
            yield RawRow(row_id, None, reason, lines.count, undecodable_column(line), lines.shown(line), known)
        elif match:
            yield RawRow(row_id, match.groupdict(), "", lines.count)
        else:
            yield RawRow(row_id, None, NOT_A_RECORD, lines.count, None, lines.shown(line))
    return number
