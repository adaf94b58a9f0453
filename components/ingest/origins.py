"""Several sources in one dataset: common labels, and rows that keep the name of their source.

With the recipe's ``source.also``, the rows of each source are added to one dataset, one source after the other. Their
ids begin with the name of the source, ``feedback/2026-03.csv:7``, which the metadata column ``source`` holds, too.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from textgate.components.contracts import InputError, Rejected, Row, Source
from textgate.components.contracts.recipe.source import MAIN, ORIGIN


class RowWriter(Protocol):
    """Writer of accepted and rejected rows."""

    @property
    def counts(self) -> dict[str, Counter[str]]:
        """Number of rows by split and label."""

    def add(self, split: str, row: Row) -> None:
        """Add a row to a split."""

    def reject(self, row: Rejected) -> None:
        """Add a rejected row."""


@dataclass
class RowAccount:
    """Number of rows of one source."""

    accepted: Counter[str] = field(default_factory=Counter)
    """By split."""
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""


class OriginWriter:
    """Writer of the rows of one of several sources, which adds the name of the source to each row."""

    def __init__(self, writer: RowWriter, name: str, source: Source, account: RowAccount) -> None:
        """Create a writer.

        Args:
            writer: Writer of the dataset.
            name: Name of the source.
            source: Section ``source`` with all sources.
            account: Account of the rows of this source, updated by every row.
        """
        self._writer, self._name, self._account = writer, name, account
        self._metadata = dict.fromkeys(source.metadata_columns, "")

    @property
    def counts(self) -> dict[str, Counter[str]]:
        """Number of rows of all sources by split and label."""
        return self._writer.counts

    def add(self, split: str, row: Row) -> None:
        """Add a row to a split; metadata columns that its source does not have are empty."""
        metadata = self._metadata | row.metadata | {ORIGIN: self._name}
        self._writer.add(split, dataclasses.replace(row, id=f"{self._name}/{row.id}", metadata=metadata))
        self._account.accepted[split] += 1

    def reject(self, row: Rejected) -> None:
        """Add a rejected row."""
        self._writer.reject(dataclasses.replace(row, id=f"{self._name}/{row.id}"))
        self._account.rejected[row.reason] += 1


def origin_of(row: Row | Rejected) -> str:
    """Return the name of the source of a row that ``OriginWriter`` has written."""
    return row.id.partition("/")[0]


def with_common_labels(sources: Mapping[str, Source]) -> dict[str, Source]:
    """Return the sources with the labels to accept.

    If the main source maps its labels to names, a source without a mapping of its own has these names as labels. Any
    other label of it is unknown.

    Args:
        sources: Sources by name, each with its CSV layout applied.
    """
    names = {name: name for name in (sources[MAIN].labels or {}).values()}
    return {
        key: source.model_copy(update={"labels": names}) if names and source.labels is None else source
        for key, source in sources.items()
    }


def as_one_source(source: Source, sources: Mapping[str, Source]) -> Source:
    """Return a source that stands for all rows: its labels are the names that all sources map to.

    Args:
        source: Section ``source`` of the recipe.
        sources: Its sources by name, as ``with_common_labels`` returns them.
    """
    if not source.also:
        return sources[MAIN]
    labels = None
    if sources[MAIN].labels:
        labels = {name: name for one in sources.values() for name in (one.labels or {}).values()}
    # The given splits and the row filters have been checked for each source.
    return source.model_copy(
        update={"uri": source.address, "labels": labels, "where": None, "test": None, "validation": None}
    )


def require_rows_of_each(sources: Mapping[str, Source], accounts: Mapping[str, RowAccount]) -> None:
    """Check that every source has rows that can be used, and rows for the splits that it gives.

    Args:
        sources: Sources by name.
        accounts: Rows of each.

    Raises:
        InputError: A source has none.
    """
    for name, source in sources.items():
        account, key = accounts[name], "source" if name == MAIN else f"source.also.{name}"
        if not account.accepted:
            reasons = [f"{count:,} {reason}" for reason, count in sorted(account.rejected.items())]
            if source.where:
                reasons.append(f"the row filter {source.where!r} selects no others")
            raise InputError(
                f"no row of {source.uri} ({key}) can be used: {', '.join(reasons) or 'it has no rows'}; correct it, or "
                "leave the source out"
            )
        for split, expression in (("test", source.test), ("validation", source.validation)):
            if expression and not account.accepted[split]:
                raise InputError(
                    f"{key}.{split} {expression!r} selects none of the {account.accepted.total():,} rows of "
                    f"{source.uri} that can be used: correct the filter, or leave it out"
                )
    if not any(account.accepted["all"] for account in accounts.values()):
        raise InputError(
            "the filters test and validation select all rows of the sources: they must leave others to train on"
        )
