"""Suspicious facts of a profiled source in one sentence each, heaviest first, with the recipe keys that help."""

import unicodedata
from collections.abc import Iterator, Mapping

from textgate.components.contracts.formatting import percent
from textgate.components.ingest.rejection_reasons import OVER_LONG_LINE
from textgate.pipelines.inspection.inspection import Finding, Inspection, LabelStatistics, Weight
from textgate.pipelines.inspection.personal_data import KINDS
from textgate.pipelines.inspection.row_table import GARBLED, HASHTAG, HTML, MENTION, URL

_WEIGHTS: list[Weight] = ["high", "medium", "low"]
_HEAVY_LOSS, _HEAVY_REPETITION = 0.05, 0.01
_MIN_LABEL_ROWS = 20
_IMBALANCE = 10
"""Ratio of the largest to the smallest class."""
_LENGTH_RATIO = 3
_MARK_DIFFERENCE = 0.3
_FOREIGN, _FOREIGN_DIFFERENCE = 0.05, 0.2
_LONG, _LONG_SHARE = 512, 0.05
_MAX_NAMED = 5
_REMOVERS = {
    HTML: "preprocess.normalizer.remove_html",
    URL: "preprocess.normalizer.remove_urls",
    MENTION: "preprocess.normalizer.remove_mentions",
    HASHTAG: "preprocess.normalizer.remove_hashtags",
}
_WITH_ARTICLE = {
    HTML: "an HTML tag or entity",
    URL: "a web address",
    MENTION: "a mention",
    HASHTAG: "a hashtag",
    GARBLED: GARBLED,
    **{kind: f"a {kind}" for kind in KINDS},
    "e-mail address": "an e-mail address",
    "IBAN": "an IBAN",
}
_COMMON_MARK = {HTML: 0.01, URL: 0.05, MENTION: 0.05, HASHTAG: 0.05}
"""Share of the rows from which on a mark is stated."""


def find_problems(inspection: Inspection) -> list[Finding]:
    """Return the findings, heaviest first, and of one weight in the order below."""
    findings = [
        *_leaks(inspection),
        *_losses(inspection),
        *_labels(inspection),
        *_repetitions(inspection),
        *_shortcuts(inspection),
        *_texts(inspection),
        *_columns(inspection),
    ]
    return sorted(findings, key=lambda finding: _WEIGHTS.index(finding.weight))


def _leaks(inspection: Inspection) -> Iterator[Finding]:
    keys = {"test": ["source.test"], "validation": ["source.validation"]} if inspection.split else {}
    for leak in inspection.leaks:
        if leak.copies:
            contradicting = f", {leak.copies_contradicting:,} of them with another label" * bool(
                leak.copies_contradicting
            )
            yield Finding(
                weight=_weight(leak.copies / leak.rows, _HEAVY_REPETITION),
                message=f"{leak.copies:,} of the {leak.rows:,} rows of the split {leak.second!r} "
                f"({percent(leak.copies / leak.rows)}) are also in {leak.first!r}{contradicting}: scores on them are "
                "too good, and a wrong label counts as an error",
                keys=keys.get(leak.second, []),
            )


def _losses(inspection: Inspection) -> Iterator[Finding]:
    lost = inspection.rows - inspection.usable
    if lost:
        share = lost / inspection.rows
        reasons = _named([f"{count:,} {reason}" for reason, count in inspection.rejected.items()])
        yield Finding(
            weight=_weight(share, _HEAVY_LOSS),
            message=f"{lost:,} of {inspection.rows:,} rows ({percent(share)}) cannot be used: {reasons}",
            keys=["source.max_line_bytes"] if OVER_LONG_LINE in inspection.rejected else ["gate.max_rejected"],
        )


def _labels(inspection: Inspection) -> Iterator[Finding]:
    labels = inspection.labels
    if len(labels) < 2:
        found = f"only the label {labels[0].label!r}" if labels else "no label"
        yield Finding(
            weight="high",
            message=f"the usable rows have {found} in the column {inspection.label!r}: a classifier needs two",
            keys=["source.label"],
        )
        return
    for group in inspection.spellings:
        rows = {each.label: each.rows for each in labels}
        # Labels that differ in Unicode normalization only look the same on a screen.
        show = repr if len({unicodedata.normalize("NFC", label) for label in group}) == len(group) else ascii
        yield Finding(
            weight="high",
            message=f"{_named([f'{show(label)} ({rows[label]:,})' for label in group])} may be one label in several "
            "spellings: map them to one name",
            keys=["source.labels"],
        )
    if inspection.missing_markers:
        rows = {each.label: each.rows for each in labels}
        markers = [f"{label!r} ({rows[label]:,})" for label in inspection.missing_markers]
        yield Finding(
            weight="high",
            message=f"the label {_named(markers)} looks like a missing value: leave such rows out",
            keys=["source.where"],
        )
    few = [each for each in labels if each.rows < _MIN_LABEL_ROWS]
    if few:
        yield Finding(
            weight="high",
            message=f"{len(few):,} of {len(labels):,} labels have fewer than {_MIN_LABEL_ROWS} rows: "
            f"{_named([f'{each.label!r} ({each.rows:,})' for each in few])}",
            keys=["gate.min_label_rows"],
        )
    ratio = labels[0].rows / labels[-1].rows
    if ratio >= _IMBALANCE:
        yield Finding(
            weight="medium",
            message=f"the label {labels[0].label!r} has {ratio:,.0f} times as many rows as {labels[-1].label!r} "
            f"({labels[0].rows:,} and {labels[-1].rows:,}): accuracy says little, and the rare class may be missed",
            keys=["train.class_weights", "preprocess.balance", "gate.metric"],
        )


def _repetitions(inspection: Inspection) -> Iterator[Finding]:
    duplicates, usable = inspection.duplicates, max(inspection.usable, 1)
    if duplicates.conflicting_texts:
        share = duplicates.conflicting_rows / usable
        yield Finding(
            weight=_weight(share, _HEAVY_REPETITION),
            message=f"{duplicates.conflicting_texts:,} texts have rows with different labels "
            f"({duplicates.conflicting_rows:,} rows, {percent(share)}): preprocess rejects those that are equal",
            keys=["gate.max_rejected"],
        )
    if duplicates.exact:
        share = duplicates.exact / usable
        yield Finding(
            weight="medium" if share >= _HEAVY_REPETITION else "low",
            message=f"{duplicates.exact:,} rows ({percent(share)}) repeat the text of an earlier row: preprocess keeps "
            "one row of each text",
            keys=["gate.max_rejected"],
        )
    if duplicates.copies:
        share = duplicates.copies / usable
        yield Finding(
            weight="medium" if share >= _HEAVY_REPETITION else "low",
            message=f"{duplicates.copies:,} rows ({percent(share)}) differ from an earlier one only in case, "
            "punctuation, markup, addresses or mentions: preprocess keeps them in one split",
            keys=["gate.max_near_duplicates"],
        )
    if duplicates.near_texts:
        share = duplicates.near_texts / duplicates.near_compared
        contradicting = (
            f", {duplicates.near_conflicting:,} of them with different labels" if duplicates.near_conflicting else ""
        )
        yield Finding(
            weight="medium" if share >= _HEAVY_REPETITION else "low",
            message=f"{duplicates.near_texts:,} of {duplicates.near_compared:,} texts ({percent(share)}) are nearly "
            f"the same as another one{contradicting}: preprocess keeps them in one split",
            keys=["preprocess.near_duplicates"],
        )


def _shortcuts(inspection: Inspection) -> Iterator[Finding]:
    """Yield what tells classes apart without their meaning, such as an address in the texts of one class."""
    for mark in inspection.marks:
        low, high = _extremes(mark.by_label)
        if high and mark.by_label[high] - mark.by_label[low] >= _MARK_DIFFERENCE:
            yield Finding(
                weight="medium",
                message=f"{percent(mark.by_label[high])} of the texts of {high!r} have {_WITH_ARTICLE[mark.name]}, and "
                f"{percent(mark.by_label[low])} of {low!r}: a model may learn that instead of the meaning",
                keys=[_REMOVERS[mark.name]] if mark.name in _REMOVERS else [],
            )
    large = [each for each in inspection.labels if each.rows >= _MIN_LABEL_ROWS]
    if len(large) > 1:
        short, long = (pick(large, key=_median_words) for pick in (min, max))
        if long.median_words >= _LENGTH_RATIO * max(short.median_words, 1):
            yield Finding(
                weight="medium",
                message=f"half of the texts of {long.label!r} have over {long.median_words:,.0f} words, and of "
                f"{short.label!r} over {short.median_words:,.0f}: a model may learn the length instead of the meaning",
            )
    if inspection.languages:
        by_label = inspection.languages.other_by_label
        low, high = _extremes(by_label)
        if high and by_label[high] - by_label[low] >= _FOREIGN_DIFFERENCE:
            yield Finding(
                weight="high",
                message=f"{percent(by_label[high])} of the texts of {high!r} and {percent(by_label[low])} of {low!r} "
                f"are in another language than {inspection.languages.main!r}: a model may learn the language instead "
                "of the meaning",
                keys=["preprocess.language"],
            )


def _texts(inspection: Inspection) -> Iterator[Finding]:
    for mark in inspection.marks:
        if mark.name == GARBLED:
            yield Finding(
                weight=_weight(mark.share, _HEAVY_REPETITION),
                message=f"{mark.rows:,} texts ({percent(mark.share)}) have {GARBLED}, such as é as Ã©: they were "
                "written in one encoding and read in another before",
            )
        elif mark.share >= _COMMON_MARK[mark.name]:
            yield Finding(
                weight="medium" if mark.name == HTML else "low",
                message=f"{mark.rows:,} texts ({percent(mark.share)}) have {_WITH_ARTICLE[mark.name]}",
                keys=[_REMOVERS[mark.name]],
            )
    for kind in inspection.personal_data:
        yield Finding(
            weight="medium",
            message=f"{kind.rows:,} texts ({percent(kind.share)}) hold what looks like {_WITH_ARTICLE[kind.kind]}: "
            "texts are copied into the dataset, and some into the report",
        )
    languages = inspection.languages
    if languages and 1 - languages.shares.get(languages.main, 0) >= _FOREIGN:
        others = [
            f"{language!r} ({percent(share)})"
            for language, share in languages.shares.items()
            if language != languages.main
        ]
        yield Finding(
            weight="medium",
            message=f"{percent(1 - languages.shares.get(languages.main, 0))} of the texts are in another language than "
            f"{languages.main!r}: {_named(others)}",
            keys=["preprocess.language"],
        )
    if inspection.lengths and inspection.lengths.tokens.over[_LONG] >= _LONG_SHARE:
        yield Finding(
            weight="medium",
            message=f"{percent(inspection.lengths.tokens.over[_LONG])} of the texts have over {_LONG} tokens: most "
            "encoders cut the rest off",
            keys=["train.max_tokens"],
        )


def _columns(inspection: Inspection) -> Iterator[Finding]:
    for column in inspection.columns:
        if column.role == "date":
            yield Finding(
                weight="low",
                message=f"the column {column.name!r} holds dates: the latest texts can be the test split",
                keys=["source.metadata", "preprocess.test_latest_by"],
            )
        elif column.role == "group":
            yield Finding(
                weight="low",
                message=f"the column {column.name!r} names who or what a text is from: texts of one source are alike, "
                "so keep them in one split",
                keys=["source.metadata", "preprocess.group"],
            )


def _weight(share: float, heavy: float) -> Weight:
    return "high" if share >= heavy else "medium"


def _median_words(statistics: LabelStatistics) -> float:
    return statistics.median_words


def _extremes(shares: Mapping[str, float]) -> tuple[str, str]:
    """Return the names of the smallest and the largest share; empty names if there are fewer than two."""
    if len(shares) < 2:
        return "", ""
    return min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)


def _named(names: list[str]) -> str:
    """Return the first names, and the number of the others."""
    more = [f"{len(names) - _MAX_NAMED:,} more"] if len(names) > _MAX_NAMED else []
    return ", ".join([*names[:_MAX_NAMED], *more])
