"""Training texts of the report whose label looks wrong."""

from itertools import islice

from textgate.components.contracts.label_issues import LabelIssue, LabelIssues

_MAX_ISSUES = 20
_CHARACTERS = 600


def most_suspect(issues: LabelIssues | None) -> list[LabelIssue]:
    """Return the most suspect texts, each cut to its beginning; none if the labels were not checked."""
    if issues is None:
        return []
    return [
        issue._replace(text=issue.text[:_CHARACTERS] + ("…" if len(issue.text) > _CHARACTERS else ""))
        for issue in islice(issues.rows(), _MAX_ISSUES)
    ]
