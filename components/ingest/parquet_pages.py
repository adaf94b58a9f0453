"""Limits of what reading a Parquet file takes, from the headers of its pages.

Reading a cell decompresses its page as a whole, and a compressed page may be a thousand times as large as its bytes in
the file. Each page is preceded by its size in Thrift's compact protocol, which is all that is read here:
github.com/apache/parquet-format (PageHeader) and github.com/apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.contracts import InputError

MAX_PAGE_BYTES = 256 << 20
"""Largest page to decompress, and largest size of the pages that the rows of a batch may be in."""
_DICTIONARY_PAGE = 2


class _Page(NamedTuple):
    size: int
    """Bytes after decompression."""
    values: int | None
    """Number of values; None of a dictionary, any entry of which may be the value of every row."""


def batch_rows(file: pq.ParquetFile, path: Path, columns: Sequence[str], most: int) -> int:
    """Return how many rows to read at a time, so that a batch of columns takes at most 256 MiB each.

    Args:
        file: Open file.
        path: Its path.
        columns: Names of the columns to read.
        most: Largest number of rows of a batch.

    Raises:
        InputError: A page is larger than 256 MiB.
        pyarrow.ArrowInvalid: A page header cannot be read.
    """
    largest = MAX_PAGE_BYTES
    with path.open("rb") as stream:
        for group in range(file.metadata.num_row_groups):
            row_group = file.metadata.row_group(group)
            for chunk in map(row_group.column, range(row_group.num_columns)):
                name = next((name for name in columns if f"{chunk.path_in_schema}.".startswith(f"{name}.")), None)
                for page in _pages(stream, chunk) if name is not None else ():
                    if page.size > MAX_PAGE_BYTES:
                        raise InputError(
                            f"{path}: a page of the column {name!r} has {page.size:,} bytes when unpacked, over "
                            f"{MAX_PAGE_BYTES:,}: a cell is too large, or the file must be written with smaller pages"
                        )
                    pages = most if page.values is None else -(-most // max(page.values, 1))
                    largest = max(largest, page.size * pages)
    return max(1, most * MAX_PAGE_BYTES // largest)


def _pages(stream: BinaryIO, chunk: Any) -> Iterator[_Page]:
    """Yield the pages of a column chunk."""
    position = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    end = position + chunk.total_compressed_size
    while position < end:
        stream.seek(position)
        try:
            header = _Reader(stream).struct()
            size, packed = header[2], header[3]
            values = None if header[1] == _DICTIONARY_PAGE else header.get(5, header.get(8, {})).get(1, 0)
        except (IndexError, KeyError, RecursionError, TypeError, AttributeError) as error:
            raise pa.ArrowInvalid(f"the page header at byte {position:,} is malformed") from error
        if packed < 0 or size < 0:
            raise pa.ArrowInvalid(f"the page at byte {position:,} has a negative size")
        yield _Page(size, values)
        position = stream.tell() + packed


class _Reader:
    """Reader of the compact protocol that returns integers and structs, and skips everything else."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def struct(self) -> dict[int, Any]:
        """Return the fields of a struct by their ids."""
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 15)
        return fields

    def _value(self, kind: int) -> Any:
        """Return a value by the number of its type; a page header has no lists, sets and maps."""
        match kind:
            case 1 | 2:  # true, false
                return None
            case 3:  # byte
                return self._byte()
            case 4 | 5 | 6:  # i16, i32, i64
                return self._integer()
            case 7:  # double
                return self._skip(8)
            case 8:  # binary
                return self._skip(self._varint())
            case 12:
                return self.struct()
        raise KeyError(kind)

    def _byte(self) -> int:
        return self._stream.read(1)[0]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise KeyError("an integer of over 64 bits")
        return value | byte << shift

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, count: int) -> None:
        self._stream.seek(count, 1)
