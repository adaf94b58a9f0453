r"""Output that cannot control a terminal: control characters of labels, texts, names and errors are shown as escapes.

A terminal obeys the bytes that it prints: ESC, CSI and OSC sequences move the cursor, rewrite lines or set the
clipboard, and bidirectional overrides reorder what is shown (CVE-2021-42574). ``PrintableStream`` replaces standard
output and standard error, and ``Console`` is rich's with the same rule for everything but its own styles.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 except tab and newline, DEL, C1, bidirectional controls, and surrogates, which cannot be encoded."""


def printable(text: str) -> str:
    r"""Return ``text`` with control characters as escapes: ``\x1b`` below U+0020, else as in ``\u009b``.

    JSON never holds the former, and reads the latter as the character itself, so JSON stays what it was.
    """
    return _CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"


class Output:
    """Standard output or standard error that may be on a full device or a pipe that nobody reads.

    The first error goes to ``on_error``; what is written after it is lost, so that Python does not fail on it at exit.
    """

    def __init__(self, stream: TextIO | None, on_error: Callable[[OSError], None]) -> None:
        """Wrap a stream.

        Args:
            stream: The stream; None if its file descriptor is closed, as after ``>&-``.
            on_error: Function to call with the first error.
        """
        self._stream = open(os.devnull, "w", encoding="utf-8") if stream is None else stream  # noqa: SIM115
        self._on_error = on_error

    def write(self, text: str) -> int:
        """Write text."""
        with self._errors():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._errors():
            self._stream.flush()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # The buffer still holds what could not be written.
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, self._stream.fileno())
            os.close(devnull)
            self._on_error(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class PrintableStream:
    """Text stream that writes to another one, with control characters as escapes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text with control characters as escapes; return the number of its characters."""
        self._stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    @property
    def rich_proxied_file(self) -> TextIO:
        """The other stream. Consoles of rich write to it, because they need to write escapes for styles."""
        return self._stream

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            # click would write to it, past ``write``, if the encoding is ASCII.
            raise AttributeError(name)
        return getattr(self._stream, name)


class Console(rich.console.Console):
    """Console whose only escapes are its own styles; markup and emoji codes are printed as they are."""

    def __init__(self, *, file: TextIO | None = None, soft_wrap: bool = False, width: int | None = None) -> None:
        super().__init__(file=file, soft_wrap=soft_wrap, width=width, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text, with its control characters as escapes, so that tables measure its width rightly."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render an object to segments, with control characters of its text as escapes."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
