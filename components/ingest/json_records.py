"""Readers of JSON: one object per line, or one array of objects, which is streamed."""

import codecs
import json
from collections.abc import Generator, Sequence
from typing import Any, BinaryIO

from textgate.components.contracts import InputError
from textgate.components.ingest.raw_rows import MAX_KNOWN_COLUMNS, RawRow, has_surrogate, require_columns
from textgate.components.ingest.rejection_reasons import NOT_A_RECORD, OVER_LONG_LINE, UNDECODABLE
from textgate.components.ingest.text_encoding import decoding_errors
from textgate.components.ingest.text_lines import TextLines, undecodable_column

_CHUNK_BYTES = 1 << 16
_WHITE_SPACE = tuple(" \t\r\n")


class _ColumnCheck:
    """Check that a required column exists in at least one object, if there are any."""

    def __init__(self, name: str, required: Sequence[str]) -> None:
        self._name, self._required, self._missing = name, required, set(required)
        self._known: dict[str, None] = {}
        self._has_objects = False

    def see(self, value: dict[str, Any]) -> None:
        self._has_objects = True
        if self._missing:
            self._missing -= value.keys()
        if len(self._known) < MAX_KNOWN_COLUMNS:
            self._known.update(dict.fromkeys(value))

    def finish(self) -> None:
        if self._has_objects:
            missing = [column for column in self._required if column in self._missing]
            require_columns(missing, list(self._known), self._name)


def read_json_lines(lines: TextLines, required: Sequence[str]) -> Generator[RawRow, None, int]:
    """Yield one row per line that is not blank; a line that is no JSON object is rejected.

    Args:
        lines: Lines of the file.
        required: Columns that must exist in at least one of the objects.

    Returns:
        Number of rows.

    Raises:
        InputError: A required column is missing.
    """
    number = 0
    check = _ColumnCheck(lines.name, required)
    for line in iter(lines.read_line, ""):
        if not line.strip():
            continue
        number += 1
        row_id = f"{lines.name}:{number}"
        reason, value, column = lines.problem(line), None, undecodable_column(line) if lines.has_marks else None
        try:
            value = json.loads(line) if reason != OVER_LONG_LINE else None
        except json.JSONDecodeError as error:
            column = column or error.pos + 1
        except (ValueError, RecursionError):
            pass
        if reason:
            known = value if isinstance(value, dict) else None
            yield RawRow(row_id, None, reason, lines.count, column, lines.shown(line), known)
        elif isinstance(value, dict):
            check.see(value)
            yield RawRow(row_id, value, "", lines.count)
        else:
            yield RawRow(row_id, None, NOT_A_RECORD, lines.count, column, lines.shown(line))
    check.finish()
    return number


def is_json_array(lines: TextLines) -> bool:
    """Return whether a file is one JSON array, rather than one value per line.

    It is if the first line that is not blank begins with a bracket, unless the line is an array by itself and others
    follow.
    """
    contents = filter(str.strip, iter(lines.read_line, ""))
    first = next(contents, "")
    if not first.lstrip().startswith("[") and lines.problem(first) != OVER_LONG_LINE:
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return lines.shown(first).lstrip().startswith("[")
    return next(contents, None) is None


class JsonArray:
    """Reader of a file that is one JSON array; it holds one element and a chunk of the file in memory."""

    def __init__(self, file: BinaryIO, name: str, max_element_bytes: int, encoding: str) -> None:
        """Set up the reader.

        Args:
            file: The file, opened for reading.
            name: Name of the file in row ids and messages.
            max_element_bytes: Limit of an element.
            encoding: Encoding of the bytes.
        """
        self._file, self._name, self._limit = file, name, max_element_bytes
        self._decode = codecs.getincrementaldecoder(encoding)(decoding_errors(encoding)).decode
        self._parse = json.JSONDecoder().raw_decode
        self._text, self._position = "", 0
        self._lines_passed = self._counted_to = 0
        self._at_end = False

    @property
    def line(self) -> int:
        """Number of the line that reading has reached, from 1."""
        self._lines_passed += self._text.count("\n", self._counted_to, self._position)
        self._counted_to = self._position
        return self._lines_passed + 1

    def rows(self, required: Sequence[str]) -> Generator[RawRow, None, int]:
        """Yield one row per element; an element that is no object is rejected.

        Args:
            required: Columns that must exist in at least one of the objects.

        Returns:
            Number of rows.

        Raises:
            InputError: The file is not valid JSON, or a required column is missing.
        """
        check = _ColumnCheck(self._name, required)
        self._fill()
        self._text = self._text.removeprefix("\ufeff")
        self._expect("[")
        number = 0
        while self._peek() != "]":
            if number:
                self._expect(",")
                self._peek()
            number += 1
            row_id, line = f"{self._name}:{number}", self.line
            value, source = self._read_element()
            if has_surrogate(source):
                yield RawRow(row_id, None, UNDECODABLE, line, None, source, value if isinstance(value, dict) else None)
            elif len(source) > self._limit:
                yield RawRow(row_id, None, OVER_LONG_LINE, line, None, source)
            elif isinstance(value, dict):
                check.see(value)
                yield RawRow(row_id, value, "", line)
            else:
                yield RawRow(row_id, None, NOT_A_RECORD, line, None, source)
        self._expect("]")
        self._expect("")
        check.finish()
        return number

    @property
    def line_count(self) -> int:
        """Number of lines of the file, after the last row."""
        return self.line - self._text.endswith("\n")

    def _peek(self) -> str:
        """Return the next character that is not white space, or the empty text at the end of the file."""
        while True:
            while self._text[self._position : self._position + 1] in _WHITE_SPACE:
                self._position += 1
            if self._position < len(self._text) or not self._fill():
                return self._text[self._position : self._position + 1]

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._error(f"{character!r} is missing" if character else "text follows the array")
        self._position += len(character)

    def _read_element(self) -> tuple[Any, str]:
        """Return the next value and its source text."""
        while True:
            try:
                value, end = self._parse(self._text, self._position)
            except (ValueError, RecursionError) as error:
                end, problem = len(self._text), getattr(error, "msg", "nested too deeply")
                is_complete = False
            else:
                problem, is_complete = "", end < len(self._text) or self._at_end
            if is_complete:
                source = self._text[self._position : end]
                self._position = end
                return value, source
            if len(self._text) - self._position > 2 * self._limit:
                raise self._error(f"an element does not end within twice source.max_line_bytes={self._limit:,}")
            if not self._fill() and problem:
                raise self._error(problem)

    def _fill(self) -> bool:
        """Read a further part of the file, as long as the rest of the last one; return whether there was any."""
        self._lines_passed = self.line - 1
        rest = self._text[self._position :]
        chunk = self._file.read(max(_CHUNK_BYTES, len(rest)))
        self._at_end = not chunk
        self._text, self._position, self._counted_to = rest + self._decode(chunk, self._at_end), 0, 0
        return bool(chunk)

    def _error(self, problem: str) -> InputError:
        return InputError(f"{self._name} is a JSON array that is not valid JSON after line {self.line}: {problem}")
