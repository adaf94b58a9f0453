"""Labels of a source: one spelling of equal labels, their order, and labels that look like one class or like none."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from textgate.components.contracts import InputError
from textgate.components.contracts.stream_safe import stream_safe
from textgate.components.ingest.raw_rows import to_text

MISSING_MARKERS = frozenset(
    {
        *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
"""Texts that pandas reads as a missing value (``na_values`` of ``pandas.read_csv``)."""
_INTEGRAL = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?", re.ASCII)
_BOOLEANS = {"true": "True", "TRUE": "True", "false": "False", "FALSE": "False"}
_MAX_DIGITS = 28
"""Digits that ``Decimal`` does not round."""
_MAX_LABELS_SHOWN = 10
_MAX_LABEL_CHARACTERS = 60
_MAX_LABELS_PROPOSED = 30


def read_label(value: Any) -> str:
    """Return a value of the label column as a label: NFC, without white space around it; empty if it is missing.

    A decimal number without a fraction loses its zeros, as numbers of JSON and Parquet do: ``1.0`` is the label ``1``.
    Numbers in another notation, such as ``01``, ``+1`` or ``1e3``, are texts.
    """
    return _spelling(to_text(value))


@lru_cache(maxsize=4096)
def _spelling(text: str) -> str:
    label = text.strip()
    if not label.isascii():
        label = unicodedata.normalize("NFC", stream_safe(label))
    if number := _INTEGRAL.fullmatch(label):
        label = number[1]
    return "0" if label == "-0" else label


class LabelNames:
    """Names of a source's labels by ``source.labels``, or the labels themselves without it."""

    def __init__(self, names: Mapping[str, str] | None) -> None:
        """Normalize the keys of ``names`` as the labels are.

        Raises:
            InputError: Two keys are one label but have different names.
        """
        self.configured = None if names is None else list(dict.fromkeys(names.values()))
        """Names in class order; None without ``source.labels``."""
        self._names: dict[str, str] | None = None if names is None else {}
        for key, name in (names or {}).items():
            if self._names is not None and self._names.setdefault(read_label(key), name) != name:
                raise InputError(
                    f"source.labels names the label {read_label(key)!r} twice, as {self._names[read_label(key)]!r} and "
                    f"as {name!r}: leave out one of them"
                )
        self._booleans = {_BOOLEANS.get(key, key): name for key, name in (self._names or {}).items()}

    @property
    def keys(self) -> list[str]:
        """Labels that ``source.labels`` names."""
        return list(self._names or ())

    def name(self, label: str) -> str | None:
        """Return the name of a label; None if ``source.labels`` does not name it.

        ``true`` and ``TRUE`` are named as ``True`` is, unless they are named themselves: so JSON and Parquet spell
        booleans here.
        """
        if self._names is None or label in self._names:
            return label if self._names is None else self._names[label]
        return self._booleans.get(_BOOLEANS.get(label, label))


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Return the labels in class order: numbers by value, then the others by code point."""
    return sorted(labels, key=lambda label: (0, Decimal(label), label) if _NUMBER.fullmatch(label) else (1, 0, label))


def label_warnings(found: Mapping[str, int], unknown: Mapping[str, int], names: LabelNames) -> list[str]:
    """Return sentences on labels that may be one class, or none.

    Args:
        found: Number of accepted rows by class.
        unknown: Number of rejected rows by label that ``source.labels`` does not name.
        names: Names of the labels.
    """
    if names.configured is not None:
        return _misspelled(unknown, names)
    alike = [group for group in _alike(found) if len(group) > 1]
    markers = [label for label in sort_labels(found) if label in MISSING_MARKERS]
    proposal = _proposed_labels(found, markers)
    warnings = []
    if alike:
        groups = [counted({label: found[label] for label in group}) for group in alike[:_MAX_LABELS_SHOWN]]
        if len(alike) > _MAX_LABELS_SHOWN:
            groups.append(f"and {len(alike) - _MAX_LABELS_SHOWN:,} more groups")
        warnings.append(
            f"labels that differ in nothing but case, spaces, width or the notation of a number are classes of their "
            f"own: {'; '.join(groups)}; if they are one class, set {proposal}"
        )
    if markers:
        warnings.append(
            "labels that usually mark a missing label are classes: "
            f"{counted({label: found[label] for label in markers})}; if they are none, set {proposal}"
        )
    return warnings


def is_misspelled(label: str, names: LabelNames) -> bool:
    """Whether a label differs from one that ``source.labels`` names in nothing but case, spaces, width or notation."""
    return names.configured is not None and _key(label) in {_key(key) for key in names.keys}


def counted(rows: Mapping[str, int]) -> str:
    """Return labels with their numbers of rows, the most frequent first, at most ten: ``'spam' (3), 'Spam' (1)``."""
    ordered = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{_quoted(label)} ({count:,})" for label, count in ordered[:_MAX_LABELS_SHOWN]]
    if len(ordered) > _MAX_LABELS_SHOWN:
        shown.append(f"and {len(ordered) - _MAX_LABELS_SHOWN:,} more")
    return ", ".join(shown)


def _misspelled(unknown: Mapping[str, int], names: LabelNames) -> list[str]:
    keys = {_key(key): key for key in names.keys}
    missed = {label: rows for label, rows in unknown.items() if _key(label) in keys}
    if not missed:
        return []
    additions = {label: str(names.name(keys[_key(label)])) for label in sort_labels(missed)}
    return [
        f"rows are rejected because source.labels does not name their labels {counted(missed)}, which differ from "
        f"those that it names in nothing but case, spaces, width or the notation of a number: add {_mapping(additions)}"
    ]


def _alike(found: Mapping[str, int]) -> list[list[str]]:
    """Return the labels in groups of the same ``_key``, in class order, the most frequent label of a group first."""
    groups: dict[str, list[str]] = {}
    for label in sort_labels(found):
        groups.setdefault(_key(label), []).append(label)
    return [sorted(group, key=lambda label: -found[label]) for group in groups.values()]


def _key(label: str) -> str:
    """Return a key that is equal for spellings of one label: NFKC, caseless, without spaces; a number's value."""
    key = "".join(unicodedata.normalize("NFKC", stream_safe(label)).casefold().split())
    is_number = len(key) <= _MAX_DIGITS and _NUMBER.fullmatch(key)
    return f"{Decimal(key).normalize() + 0:f}" if is_number else key


def _proposed_labels(found: Mapping[str, int], markers: list[str]) -> str:
    """Return ``source.labels=…`` that joins the labels that are alike and leaves out markers of a missing label."""
    proposal = {label: group[0] for group in _alike(found) for label in group if label not in markers}
    if len(set(proposal.values())) < 2:
        return "source.labels; but then the source has fewer than two classes"
    if len(proposal) > _MAX_LABELS_PROPOSED:
        changed = {label: name for label, name in proposal.items() if label != name}
        return f"source.labels for every class{f', {_mapping(changed)} among them' if changed else ''}"
    return f"source.labels={_mapping(proposal)}"


def _mapping(names: Mapping[str, str]) -> str:
    return json.dumps(dict(list(names.items())[:_MAX_LABELS_PROPOSED]), ensure_ascii=False)


def _quoted(label: str) -> str:
    return repr(label if len(label) <= _MAX_LABEL_CHARACTERS else f"{label[:_MAX_LABEL_CHARACTERS]}…")
