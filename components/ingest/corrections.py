"""Corrections of labels (``source.corrections``): a CSV file that changes the label of texts, or drops them.

A line names a text by its ``key`` (as in ``label_issues.csv`` of the step check_labels) or by the ``text`` itself, its
present ``label`` and its ``corrected_label``. A line that repeats the label changes nothing, and an empty
``corrected_label`` drops the text. Rows are matched by the text's key and the label, not by their id, because ids
change when a file changes.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from textgate.components.contracts import InputError, Rejected, Row
from textgate.components.contracts.dataset import DROPPED
from textgate.components.contracts.label_counts import CorrectionCounts
from textgate.components.contracts.label_issues import CORRECTED_LABEL, KEY, LABEL, TEXT, read_table
from textgate.components.contracts.text_keys import text_key
from textgate.components.ingest.origins import RowWriter

_KEY = re.compile(r"[0-9a-f]{16}")


class _Correction(NamedTuple):
    line: int
    """Line of the file, from 1."""
    label: str
    """New label; empty to drop the text."""


class Corrections:
    """Corrections of one file, and the number of rows that they have matched."""

    def __init__(self, path: Path) -> None:
        """Read a file of corrections.

        Raises:
            InputError: The file cannot be read, a column is missing, a line names no text, or two lines contradict each
                other.
        """
        self._path = path
        self._of: dict[tuple[str, str], _Correction] = {}
        self._used: set[tuple[str, str]] = set()
        self._labels: set[str] = set()
        self._corrected = self._dropped = 0
        for line, values in read_table(path, (LABEL, CORRECTED_LABEL)):
            label, corrected = values[LABEL].strip(), values[CORRECTED_LABEL].strip()
            if corrected != label:
                self._add((self._key(line, values), label), _Correction(line, corrected))

    def _key(self, line: int, values: Mapping[str, str]) -> str:
        key = values.get(KEY, "").strip().lower()
        if not key and values.get(TEXT):
            return text_key(values[TEXT])
        if not _KEY.fullmatch(key):
            raise InputError(
                f"line {line} of {self._path} names no text: its column {KEY} must hold the key of a text as in "
                f"label_issues.csv, or be empty and its column {TEXT} hold the text"
            )
        return key

    def _add(self, text: tuple[str, str], correction: _Correction) -> None:
        other = self._of.setdefault(text, correction)
        if other.label != correction.label:
            raise InputError(
                f"lines {other.line} and {correction.line} of {self._path} correct the label {text[1]!r} of one text "
                "differently: leave one of them out"
            )

    def corrected_label(self, row: Row) -> str:
        """Return the label of a row, corrected if there is a correction for it; empty if the row is to be dropped."""
        self._labels.add(row.label)
        text = text_key(row.text), row.label
        correction = self._of.get(text)
        if correction is None:
            return row.label
        self._used.add(text)
        if correction.label:
            self._corrected += 1
        else:
            self._dropped += 1
        return correction.label

    def counts(self, names: Iterable[str]) -> CorrectionCounts:
        """Return the number of corrected and dropped rows and of corrections that matched none; call it after all rows.

        Args:
            names: Labels that ``source.labels`` names.

        Raises:
            InputError: A correction uses a label that neither a row of the source nor ``source.labels`` has.
        """
        known = self._labels.union(names)
        for correction in self._of.values():
            if correction.label and correction.label not in known:
                raise InputError(
                    f"line {correction.line} of {self._path} corrects a label to {correction.label!r}, which the "
                    f"source does not have: its labels are {', '.join(sorted(known))}"
                )
        unmatched = sorted(self._of[text].line for text in self._of.keys() - self._used)
        return CorrectionCounts(
            corrected=self._corrected,
            dropped=self._dropped,
            unmatched=len(unmatched),
            first_unmatched=unmatched[0] if unmatched else None,
        )


class CorrectingWriter:
    """Writer that corrects the label of each accepted row, or rejects the row."""

    def __init__(self, writer: RowWriter, corrections: Corrections) -> None:
        self._writer, self._corrections = writer, corrections

    @property
    def counts(self) -> dict[str, Counter[str]]:
        """Number of rows by split and label."""
        return self._writer.counts

    def add(self, split: str, row: Row) -> None:
        """Add a row to a split with its corrected label, or reject it."""
        label = self._corrections.corrected_label(row)
        if label:
            self._writer.add(split, row if label == row.label else dataclasses.replace(row, label=label))
        else:
            self._writer.reject(Rejected(row.id, DROPPED, row.label, row.text, split))

    def reject(self, row: Rejected) -> None:
        """Add a rejected row."""
        self._writer.reject(row)
