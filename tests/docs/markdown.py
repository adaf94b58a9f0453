"""The Markdown pages of the repository, and the parts of them that tests check: code, links, tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "docs" / "reference" / "recipe-keys.md"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path != GENERATED),
]
_PARSER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Code:
    """A block of code, fenced or indented."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def location(self) -> str:
        """Page and line of the block."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self, *programs: str) -> Iterator[str]:
        """Yield the command lines that begin with one of the programs, without comments, continued lines joined."""
        for line in self.text.replace("\\\n", " ").splitlines():
            command = re.split(r"\s#\s", line)[0].strip()
            if command.split(" ")[0] in programs:
                yield command


def code_blocks(page: Path, language: str | None = None) -> list[Code]:
    """Return the blocks of code of a page, or only those of a language."""
    blocks = [
        Code(page, token.map[0] + 1, token.info, token.content)
        for token in _tokens(page)
        if token.type in ("fence", "code_block") and token.map is not None
    ]
    return [block for block in blocks if language in (None, block.language)]


def inline_code(page: Path) -> list[str]:
    """Return the inline code of a page."""
    return [child.content for child in _inline(page) if child.type == "code_inline"]


def links(page: Path) -> list[str]:
    """Return the targets of links and images of a page."""
    targets = [child.attrGet("href") or child.attrGet("src") for child in _inline(page)]
    return [str(target) for target in targets if target]


def headings(page: Path) -> list[str]:
    """Return the anchors of a page's headings, as GitHub and MyST name them."""
    tokens = _tokens(page)
    titles = [tokens[index + 1].content for index, token in enumerate(tokens) if token.type == "heading_open"]
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def tables(page: Path) -> list[list[list[str]]]:
    """Return the tables of a page as rows of cells; the first row is the header."""
    found: list[list[list[str]]] = []
    in_table = False
    for token in _tokens(page):
        if token.type in ("table_open", "table_close"):
            in_table = token.type == "table_open"
            if in_table:
                found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and in_table:
            found[-1][-1].append(token.content)
    return found


def _tokens(page: Path) -> list[Token]:
    return _PARSER.parse(page.read_text("utf-8"))


def _inline(page: Path) -> Iterator[Token]:
    for token in _tokens(page):
        yield from token.children or []
