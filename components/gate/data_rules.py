"""Rules on the data: rejected rows, near duplicates, labels that look wrong, and texts of the rarest label."""

from collections.abc import Iterator

from textgate.components.contracts import Gate, Rule
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.label_issues import LabelIssuesManifest

_MAX_LABELS_NAMED = 3


def data_rules(dataset: DatasetManifest, gate: Gate, label_issues: LabelIssuesManifest | None = None) -> Iterator[Rule]:
    """Yield the rules on the data that the recipe asks for; ``label_issues`` is None if no labels were checked."""
    if gate.max_rejected is not None:
        yield _rejected_rule(dataset, gate.max_rejected)
    if gate.max_near_duplicates is not None:
        yield _near_duplicates_rule(dataset, gate.max_near_duplicates)
    if gate.max_label_issues is not None:
        yield _label_issues_rule(label_issues, gate.max_label_issues)
    if gate.min_label_rows is not None:
        yield _label_rows_rule(dataset, gate.min_label_rows)


def _rejected_rule(dataset: DatasetManifest, max_rejected: float) -> Rule:
    by_rows = sorted(dataset.unusable.items(), key=lambda item: (-item[1], item[0]))
    share = sum(dataset.unusable.values()) / max(dataset.rows_in, 1)
    passed = share <= max_rejected
    reasons = f" ({', '.join(f'{reason}: {rows:,}' for reason, rows in by_rows)})" if by_rows else ""
    message = (
        f"{share:.2%} of the {dataset.rows_in:,} rows of the source were rejected{reasons}, "
        f"{'within' if passed else 'more than'} gate.max_rejected={max_rejected:g}"
    )
    return Rule(name="max_rejected", threshold=max_rejected, value=None, passed=passed, message=message)


def _near_duplicates_rule(dataset: DatasetManifest, max_share: float) -> Rule:
    copies = dataset.near_duplicates
    if copies is None:
        passed, message = False, "it is unknown how many texts are near duplicates, so gate.max_near_duplicates fails"
    else:
        groups = dataset.near_duplicate_groups
        in_groups = groups.texts - groups.groups if groups else 0
        share = (sum(copies.values()) + in_groups) / max(dataset.rows_out, 1)
        others = f", and {in_groups:,} that differ in some words" if in_groups else ""
        passed = share <= max_share
        message = (
            f"{share:.2%} of the {dataset.rows_out:,} texts are near duplicates of others "
            f"({', '.join(f'{split}: {rows:,}' for split, rows in copies.items())}{others}), "
            f"{'within' if passed else 'more than'} gate.max_near_duplicates={max_share:g}"
        )
    return Rule(name="max_near_duplicates", threshold=max_share, value=None, passed=passed, message=message)


def _label_issues_rule(issues: LabelIssuesManifest | None, max_share: float) -> Rule:
    if issues is None or not issues.checked:
        passed, message = False, "no labels of training texts were checked, so gate.max_label_issues fails"
    else:
        passed = issues.share <= max_share
        by_texts = sorted(issues.labels.items(), key=lambda item: -item[1].issues)[:_MAX_LABELS_NAMED]
        message = (
            f"the labels of {issues.share:.2%} of the {issues.checked:,} checked training texts look wrong "
            f"(most often {', '.join(f'{label!r}: {count.issues:,}' for label, count in by_texts)}), "
            f"{'within' if passed else 'more than'} gate.max_label_issues={max_share:g}"
        )
    return Rule(name="max_label_issues", threshold=max_share, value=None, passed=passed, message=message)


def _label_rows_rule(dataset: DatasetManifest, min_rows: int) -> Rule:
    counts = dataset.counts.get("train", {})
    label = min(dataset.labels, key=lambda label: counts.get(label, 0))
    rows = counts.get(label, 0)
    passed = rows >= min_rows
    message = (
        f"the rarest label, {label!r}, has {rows:,} training texts, {'at least' if passed else 'fewer than'} "
        f"gate.min_label_rows={min_rows:,}"
    )
    return Rule(name="min_label_rows", threshold=min_rows, value=None, passed=passed, message=message)
