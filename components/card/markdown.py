"""Markdown (CommonMark with GitHub's tables) in which nothing that comes from data can be anything but text."""

import re
from collections.abc import Iterable, Sequence

# What can begin a span, an image, an entity, a tag or a table's cell; in the middle of a line nothing else can.
_SPECIAL = re.compile(r"[\\`*_\[\]<>|~&$]")
_BREAK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_TICKS = re.compile(r"`+")


class Markdown(str):
    """Text that is Markdown already."""


def text(value: object) -> Markdown:
    """A value as plain text on one line; what is Markdown already stays as it is."""
    return value if isinstance(value, Markdown) else Markdown(_SPECIAL.sub(r"\\\g<0>", _one_line(str(value))))


def code(value: str) -> Markdown:
    """A code span, in a table too; a value with a pipe, which the two write differently, is plain text."""
    line = _one_line(value)
    if "|" in line or not line:
        return text(line)
    ticks = "`" * _more_than(line, 0)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return Markdown(f"{ticks}{pad}{line}{pad}{ticks}")


def fenced(content: str, language: str) -> Markdown:
    """A block of code."""
    ticks = "`" * _more_than(content, 2)
    return Markdown(f"{ticks}{language}\n{content.rstrip()}\n{ticks}")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> Markdown:
    """A table whose first ``words`` columns are words and the others numbers."""
    rule = ["---" if number < words else "---:" for number in range(len(columns))]
    lines = [columns, [Markdown(cell) for cell in rule], *rows]
    return Markdown("\n".join(f"| {' | '.join(text(cell) for cell in line)} |" for line in lines))


def bullets(sentences: Iterable[object]) -> Markdown:
    """A list."""
    return Markdown("\n".join(f"- {text(sentence)}" for sentence in sentences))


def _one_line(value: str) -> str:
    return _BREAK.sub(" ", value).strip()


def _more_than(content: str, least: int) -> int:
    """A number of backticks that is nowhere in ``content``, above ``least``."""
    return max([least, *(len(ticks) for ticks in _TICKS.findall(content))]) + 1
