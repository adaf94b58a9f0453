"""How a file of a source was read."""

from typing import Literal

from textgate.components.contracts.frozen_model import FrozenModel


class SourceFile(FrozenModel):
    """How one file of the source was read."""

    name: str
    """Name of the file."""
    format: Literal[
        "delimited text", "JSON lines", "JSON array", "nested JSON", "Parquet", "text lines", "workbook", "text files"
    ]
    """Format of the file; ``text files`` are those of a class folder, with one text each."""
    records: int
    """Number of records, without the header: those kept, rejected or not selected by the row filter."""
    lines: int | None = None
    """Number of physical lines, with the header and blank lines; None if the format has none."""
    encoding: str | None = None
    """Name of the encoding; None if the format has none."""
    is_encoding_guessed: bool = False
    """Whether the encoding was guessed, because neither the recipe nor a byte order mark says so."""
    delimiter: str | None = None
    """Character between fields of delimited text."""
    is_delimiter_guessed: bool = False
    """Whether the delimiter is not the one that the file's name says, but one that most of its first rows agree on."""
    quote: str | None = None
    """Quote character of delimited text; None if quotes have no meaning."""
