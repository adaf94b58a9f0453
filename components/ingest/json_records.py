"""Readers of JSON: one object per line, or arrays of objects at a path of one document, which is streamed."""

import codecs
import json
import re
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO

from textgate.components.contracts import InputError
from textgate.components.ingest.raw_rows import MAX_KNOWN_COLUMNS, SPLIT_COLUMN, RawRow, has_surrogate, require_columns
from textgate.components.ingest.rejection_reasons import NOT_A_RECORD, OVER_LONG_LINE, UNDECODABLE
from textgate.components.ingest.text_encoding import decoding_errors
from textgate.components.ingest.text_lines import TextLines, undecodable_column

_CHUNK_BYTES = 1 << 16
_MAX_KEYS_SHOWN = 20
_NO_WHITE_SPACE = re.compile(r"[^ \t\r\n]")


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


def _to_columns(value: Any, required: Sequence[str], header: Sequence[str] | None) -> dict[str, Any] | None:
    """Return the columns of a row, or None if a value is no row.

    A row is an object, or an array of as many values as ``header`` has names. A required column ``a.b`` that the object
    does not have by this name is the member ``b`` of its member ``a``.
    """
    if isinstance(value, list) and header and len(value) == len(header):
        value = dict(zip(header, value, strict=True))
    if not isinstance(value, dict):
        return None
    for column in required:
        *outer, last = column.split(".")
        inner: Any = value
        for name in outer:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if outer and column not in value and isinstance(inner, dict) and last in inner:
            value[column] = inner[last]
    return value


def read_json_lines(
    lines: TextLines, required: Sequence[str], header: Sequence[str] | None = None
) -> Generator[RawRow, None, int]:
    """Yield one row per line that is not blank; a line that is no row in JSON is rejected.

    Args:
        lines: Lines of the file.
        required: Columns that must exist in at least one of the rows; ``a.b`` is a member of a member.
        header: Column names of rows that are arrays.

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
        columns = _to_columns(value, required, header)
        if reason:
            yield RawRow(row_id, None, reason, lines.count, column, lines.shown(line), columns)
        elif columns is not None:
            check.see(columns)
            yield RawRow(row_id, columns, "", lines.count)
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


def is_json_object(lines: TextLines) -> bool:
    """Return whether a file is one JSON object, rather than one per line; a line may be damaged."""
    first_lines = list(islice(filter(str.strip, iter(lines.read_line, "")), 2))
    if not first_lines or not lines.shown(first_lines[0]).lstrip().startswith("{"):
        return False
    has_objects = any(map(_is_object, first_lines))
    return not has_objects or len(first_lines) == 1


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


class JsonDocument:
    """Reader of a file that is one JSON value; it holds one row and a chunk of the file in memory."""

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

    def rows(
        self, required: Sequence[str], path: str | None = None, header: Sequence[str] | None = None
    ) -> Generator[RawRow, None, int]:
        """Yield one row per element of the arrays at a path; an element that is no row is rejected.

        Args:
            required: Columns that must exist in at least one of the rows; ``a.b`` is a member of a member.
            path: Keys that lead to the array, separated by dots; ``*`` is every key, and the column ``split`` of the
                rows. By default the file is the array.
            header: Column names of rows that are arrays.

        Returns:
            Number of rows.

        Raises:
            InputError: The file is not valid JSON, there is no array at the path, or a required column is missing.
        """
        check = _ColumnCheck(self._name, required)
        self._fill()
        self._text = self._text.removeprefix("\ufeff")
        number = 0
        for split in self._arrays(path.split(".") if path else [], {}):
            for _ in self._elements():
                number += 1
                row_id, line = f"{self._name}:{number}", self.line
                value, source = self._read_element()
                columns = _to_columns(value, required, header)
                if has_surrogate(source):
                    yield RawRow(row_id, None, UNDECODABLE, line, None, source, split | (columns or {}))
                elif len(source) > self._limit:
                    yield RawRow(row_id, None, OVER_LONG_LINE, line, None, source, split)
                elif columns is not None:
                    check.see(split | columns)
                    yield RawRow(row_id, split | columns, "", line)
                elif number == 1 and isinstance(value, list) and not header:
                    raise InputError(f"the rows of {self._name} are arrays: name their columns with source.columns")
                else:
                    yield RawRow(row_id, None, NOT_A_RECORD, line, None, source, split)
        self._expect("")
        check.finish()
        return number

    @property
    def line_count(self) -> int:
        """Number of lines of the file, after the last row."""
        return self.line - self._text.endswith("\n")

    def _arrays(self, path: Sequence[str], split: dict[str, str]) -> Iterator[dict[str, str]]:
        """Stop at each array at a path, which the caller must read, and yield its split as a column, if it has one."""
        if not path:
            yield split
            return
        key, *rest = path
        found, known = False, []
        for member in self._members():
            known.append(member)
            is_array = self._peek() == ("{" if rest else "[")
            if key == member and not is_array:
                raise InputError(
                    f"the key {member!r} of {self._name} holds no {'object' if rest else 'array'}, as the path of "
                    "source.format.records needs"
                )
            if is_array and key in ("*", member):
                found = True
                yield from self._arrays(rest, {SPLIT_COLUMN: member} if key == "*" else split)
            else:
                self._skip()
        if not found:
            raise InputError(
                f"{self._name} has no {'array' if key == '*' else f'key {key!r}'} where source.format.records says so, "
                f"but the keys {', '.join(known[:_MAX_KEYS_SHOWN])}"
            )

    def _members(self) -> Iterator[str]:
        """Yield each key of an object and stop at its value, which the caller must read."""
        self._expect("{")
        is_first = True
        while self._peek() != "}":
            if not is_first:
                self._expect(",")
                self._peek()
            is_first = False
            key, _ = self._read_element()
            if not isinstance(key, str):
                raise self._error("a key is missing")
            self._expect(":")
            self._peek()
            yield key
        self._expect("}")

    def _elements(self) -> Iterator[None]:
        """Stop at each element of an array, which the caller must read."""
        self._expect("[")
        is_first = True
        while self._peek() != "]":
            if not is_first:
                self._expect(",")
                self._peek()
            is_first = False
            yield
        self._expect("]")

    def _skip(self) -> None:
        """Pass over a value, of which only single numbers and texts are held in memory."""
        depth = 0
        while True:
            character = self._peek()
            if character in tuple("[]{},:"):
                depth += (character in "[{") - (character in "]}")
                self._position += 1
            else:
                self._read_element()
            if depth == 0:
                return

    def _peek(self) -> str:
        """Return the next character that is not white space, or the empty text at the end of the file."""
        while True:
            found = _NO_WHITE_SPACE.search(self._text, self._position)
            self._position = found.start() if found else len(self._text)
            if self._position < len(self._text) or not self._fill():
                return self._text[self._position : self._position + 1]

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._error(f"{character!r} is missing" if character else "text follows the value")
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
        return InputError(f"{self._name} is not valid JSON after line {self.line}: {problem}")
