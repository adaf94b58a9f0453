"""Markdown (CommonMark with GitHub's tables) in which values from data are always plain text."""

import re
from collections.abc import Iterable, Sequence

# Characters that can begin a span, an image, an entity, a tag or a table cell in the middle of a line.
_SPECIAL = re.compile(r"[\\`*_\[\]<>|~&$]")
_WHITESPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_BACKTICKS = re.compile(r"`+")


class Markdown(str):
    """Text that already is Markdown."""


def text(value: object) -> Markdown:
    """Return a value as escaped text on one line; ``Markdown`` is returned unchanged."""
    return value if isinstance(value, Markdown) else Markdown(_SPECIAL.sub(r"\\\g<0>", _one_line(str(value))))


def code(value: str) -> Markdown:
    """Return a code span, or plain text for a value with a pipe, which code spans and tables escape differently."""
    line = _one_line(value)
    if "|" in line or not line:
        return text(line)
    fence = _fence(line, 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return Markdown(f"{fence}{pad}{line}{pad}{fence}")


def fenced(content: str, language: str) -> Markdown:
    """Return a code block."""
    fence = _fence(content, 3)
    return Markdown(f"{fence}{language}\n{content.rstrip()}\n{fence}")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], text_columns: int = 1) -> Markdown:
    """Return a table; the first ``text_columns`` columns are left-aligned, the others, of numbers, right-aligned."""
    rule = ["---" if index < text_columns else "---:" for index in range(len(columns))]
    lines = [columns, [Markdown(cell) for cell in rule], *rows]
    return Markdown("\n".join(f"| {' | '.join(text(cell) for cell in line)} |" for line in lines))


def bullets(sentences: Iterable[object]) -> Markdown:
    """Return a bullet list."""
    return Markdown("\n".join(f"- {text(sentence)}" for sentence in sentences))


def _one_line(value: str) -> str:
    return _WHITESPACE.sub(" ", value).strip()


def _fence(content: str, minimum: int) -> str:
    """Return a run of backticks that is longer than every run in ``content``."""
    return "`" * max([minimum, *(len(run) + 1 for run in _BACKTICKS.findall(content))])
