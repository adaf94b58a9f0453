"""Profile of a data source on a terminal."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from textgate.components.contracts.formatting import percent
from textgate.pipelines.inspection.inspection import Inspection, Quantiles, TextExample
from textgate.pipelines.terminal import Console

_MAX_LABELS = 20
_MAX_LANGUAGES = 5
_WIDTH = 120
_STYLES = {"high": "bold red", "medium": "yellow", "low": ""}


def print_inspection(inspection: Inspection, page: Path | None, recipe: Path | None) -> None:
    """Print a profile: findings first, then tables.

    Args:
        inspection: The profile.
        page: HTML page that was written.
        recipe: Recipe that was written.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for title, text in _head(inspection):
        console.print(f"{title:<10} {text}")
    _print_findings(console, inspection)
    for title, table in _tables(inspection):
        if table.row_count:
            console.print()
            console.print(Text(title, style="bold"))
            console.print(table)
    console.print()
    if page:
        console.print(f"{'page':<10} {page}")
    if recipe:
        console.print(f"{'recipe':<10} {recipe}")
    next_step = f"textgate run {recipe}" if recipe else f"textgate init {shlex.quote(inspection.source)}"
    console.print(f"{'next':<10} {next_step}")


def _head(inspection: Inspection) -> Iterator[tuple[str, str]]:
    yield "source", f"{inspection.source} ({inspection.format})"
    for note in inspection.notes:
        yield "note", note
    rows = f"{inspection.rows:,} rows" if inspection.complete else f"the first {inspection.rows:,} rows (--max-rows)"
    yield "rows", f"{rows}, {inspection.usable:,} of them usable, read in {inspection.seconds:.1f} s"
    yield (
        "columns",
        ", ".join(f"{column.name} ({column.role})" if column.role else column.name for column in inspection.columns),
    )
    if inspection.lengths:
        yield "sampled", f"{inspection.sampled:,} different texts, for tokens and languages"


def _print_findings(console: Console, inspection: Inspection) -> None:
    console.print()
    if not inspection.findings:
        console.print("nothing suspicious was found")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in inspection.findings:
        keys = f" [{', '.join(finding.keys)}]" if finding.keys else ""
        table.add_row(Text(finding.weight, style=_STYLES[finding.weight]), Text(finding.message + keys))
    if table.row_count:
        console.print(table)


def _tables(inspection: Inspection) -> Iterator[tuple[str, Table]]:
    yield (
        "rows that cannot be used",
        _table(["reason", "rows"], [[reason, f"{count:,}"] for reason, count in inspection.rejected.items()]),
    )
    labels = inspection.labels[:_MAX_LABELS]
    more = f", the {_MAX_LABELS} largest of {len(inspection.labels):,}" if len(inspection.labels) > _MAX_LABELS else ""
    yield (
        f"classes{more}",
        _table(
            ["label", "rows", "share", "not usable", "median words"],
            [
                [each.label, f"{each.rows:,}", percent(each.share), f"{each.rejected:,}", f"{each.median_words:,.0f}"]
                for each in labels
            ],
        ),
    )
    yield from _length_tables(inspection)
    if inspection.languages:
        shares = list(inspection.languages.shares.items())[:_MAX_LANGUAGES]
        yield "languages", _table(["language", "share"], [[language, percent(share)] for language, share in shares])
    yield from _repetition_tables(inspection)
    yield (
        "given splits",
        _table(
            ["split", "rows", "labels"],
            [[each.name, f"{each.rows:,}", f"{len(each.labels):,}"] for each in inspection.splits],
        ),
    )
    yield (
        "texts that two splits share",
        _table(
            ["split", "also in", "equal", "other label", "with copies", "other label"],
            [
                [
                    *(leak.second, leak.first, f"{leak.exact:,}", f"{leak.exact_contradicting:,}"),
                    *(f"{leak.copies:,}", f"{leak.copies_contradicting:,}"),
                ]
                for leak in inspection.leaks
            ],
            left=2,
        ),
    )
    yield (
        "markup and the like",
        _table(
            ["kind", "texts", "share"],
            [[mark.name, f"{mark.rows:,}", percent(mark.share)] for mark in inspection.marks],
        ),
    )
    yield (
        "personal data",
        _table(
            ["kind", "texts", "share", "values"],
            [
                [each.kind, f"{each.rows:,}", percent(each.share), f"{each.values:,}"]
                for each in inspection.personal_data
            ],
        ),
    )


def _length_tables(inspection: Inspection) -> Iterator[tuple[str, Table]]:
    lengths = inspection.lengths
    if lengths is None:
        return
    tokens = f"tokens of {lengths.tokenizer}" if lengths.tokenizer else "tokens, at least"
    units = {"characters": lengths.characters, "words": lengths.words, tokens: lengths.tokens}
    limits = list(lengths.words.over)
    yield (
        "lengths",
        _table(
            ["unit", "median", "90 %", "99 %", "longest", *(f"over {limit}" for limit in limits)],
            [[unit, *_quantile_cells(quantiles, limits)] for unit, quantiles in units.items()],
        ),
    )


def _quantile_cells(quantiles: Quantiles, limits: Sequence[int]) -> list[str]:
    lengths = (quantiles.median, quantiles.p90, quantiles.p99, quantiles.longest)
    over = [percent(quantiles.over[limit]) if limit in quantiles.over else "" for limit in limits]
    return [*(f"{length:,.0f}" for length in lengths), *over]


def _repetition_tables(inspection: Inspection) -> Iterator[tuple[str, Table]]:
    duplicates = inspection.duplicates
    compared = f"near duplicates among {duplicates.near_compared:,} texts (similarity from {duplicates.similarity})"
    rows = [
        ["rows that repeat the text of an earlier row", duplicates.exact],
        ["rows that do so but for case, punctuation, markup …", duplicates.copies],
        ["texts whose rows have different labels", duplicates.conflicting_texts],
        [compared, duplicates.near_texts],
    ]
    yield "repetitions", _table(["", "number"], [[str(title), f"{number:,}"] for title, number in rows])
    examples = [*duplicates.conflict_examples, *duplicates.exact_examples, *duplicates.near_examples]
    yield "examples", _table(["text", "rows", "labels"], list(map(_example_cells, _different(examples))), right=[1])


def _different(examples: Sequence[TextExample]) -> list[TextExample]:
    return list({example.text: example for example in examples}.values())


def _example_cells(example: TextExample) -> list[str]:
    places = ", ".join(f"{row.label} ({row.id})" for row in example.shown)
    return [example.text, f"{example.rows:,}", places]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, right: Sequence[int] = ()) -> Table:
    """Return a table whose first columns are aligned to the left, and the others, if ``right`` is empty, to the right.

    Args:
        headings: Titles of the columns.
        rows: Cells.
        left: Number of columns that are aligned to the left.
        right: Indexes of the columns that are aligned to the right, instead.
    """
    table = Table(box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        is_right = index in right if right else index >= left
        table.add_column(heading, justify="right" if is_right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
