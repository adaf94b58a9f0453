"""Limits on the rows that ingest may reject: ``source.max_rejected`` and ``source.max_undecodable``."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from textgate.components.contracts import InputError, Source
from textgate.components.contracts.data_account import reason_line
from textgate.components.contracts.dataset import DROPPED
from textgate.components.contracts.losses import Loss, rows_by_label
from textgate.components.ingest.labels import LabelNames, is_misspelled
from textgate.components.ingest.rejection_reasons import UNDECODABLE, UNKNOWN_LABEL

_TOLERATED_ROWS = 2
"""So many rejected rows stop no run, unless the limit is 0: a share of so few rows says little."""


def require_few_losses(source: Source, kept: Mapping[str, int], losses: Sequence[Loss], names: LabelNames) -> None:
    """Check that few rows are rejected, over all rows and, for undecodable bytes, in each class.

    A label that ``source.labels`` does not name, or a row that ``source.corrections`` drops, is a choice of the recipe,
    not a loss: its rows count neither as rejected nor as rows. A label that is spelled almost as a named one is a loss.

    Args:
        source: Source settings with the limits.
        kept: Number of accepted rows by class.
        losses: Rejected rows.
        names: Names of the labels.

    Raises:
        InputError: More rows are rejected than a limit allows.
    """
    counted = [loss for loss in losses if not _is_left_out(loss, names)]
    rejected = sum(loss.rows for loss in counted)
    total = sum(kept.values()) + rejected
    in_class: Counter[str | None] = Counter(kept)
    for loss in counted:
        in_class[loss.label] += loss.rows
    undecodable = rows_by_label(counted, UNDECODABLE)
    shares = {label: rows / in_class[label] for label, rows in undecodable.items() if label is not None}
    for label in sorted(shares, key=lambda label: (-shares[label], label))[:1]:
        _require_decodable(source, undecodable[label], in_class[label], f" of the label {label!r}", kept, losses)
    _require_decodable(source, sum(undecodable.values()), total, "", kept, losses)
    if _exceeds(rejected, total, source.max_rejected):
        reasons = dict.fromkeys(loss.reason for loss in sorted(counted, key=lambda loss: -loss.rows))
        raise InputError(
            f"{rejected / total:.1%} of the {total:,} rows of {source.uri} are rejected, more than "
            f"source.max_rejected={source.max_rejected:g}: "
            f"{', '.join(reason_line(reason, counted, kept) for reason in reasons)}; mend the source, leave rows out "
            f"with source.where, or set source.max_rejected={_next_percent(rejected / total):g}"
        )


def _require_decodable(
    source: Source, undecodable: int, rows: int, where: str, kept: Mapping[str, int], losses: Sequence[Loss]
) -> None:
    if _exceeds(undecodable, rows, source.max_undecodable):
        raise InputError(
            f"{undecodable / rows:.1%} of the {rows:,} rows{where} of {source.uri} are rejected because of undecodable "
            f"bytes, more than source.max_undecodable={source.max_undecodable:g}: "
            f"{reason_line(UNDECODABLE, losses, kept)}; name the encoding in source.format.encoding, write the file in "
            f"UTF-8, or set source.max_undecodable={_next_percent(undecodable / rows):g}"
        )


def _exceeds(rejected: int, rows: int, limit: float) -> bool:
    return rejected > limit * rows and (rejected > _TOLERATED_ROWS or limit == 0)


def _is_left_out(loss: Loss, names: LabelNames) -> bool:
    if loss.reason == DROPPED:
        return True
    return loss.reason == UNKNOWN_LABEL and not (loss.label is not None and is_misspelled(loss.label, names))


def _next_percent(share: float) -> float:
    return math.ceil(100 * share) / 100
