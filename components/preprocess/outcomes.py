"""Outcomes of preprocess: the split of a text, or the reason to reject it, each with a code of one byte."""

from typing import NamedTuple

from textgate.components.contracts.dataset import LEFT_OUT, NOT_IN_SHARE

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
ALL = "all"
"""Ingested split of the rows to distribute over the splits; the splits that the source gives are named as above."""
EMPTY_TEXT = "empty text"
ANOTHER_LANGUAGE = "another language"
DUPLICATE = "duplicate"
CONFLICTING_LABEL = "conflicting label"
EARLIER_COPY = "copy of a text from before the test split"
NEAR_EARLIER = "near duplicate of a text from before the test split"


class GivenReasons(NamedTuple):
    """Reasons to reject a text because of a split that the source gives."""

    also: str
    """The split has the same cleaned text."""
    copy: str
    """The split has a copy of the text: its key."""
    near: str
    """The split has a near duplicate of the text."""
    group: str
    """The split has a text of the same value of ``preprocess.group``."""


GIVEN = {
    split: GivenReasons(
        f"also in the {split} split",
        f"copy of a text in the {split} split",
        f"near duplicate of a text in the {split} split",
        f"in a group of the {split} split",
    )
    for split in (TEST, VALIDATION)
}
"""Splits that a source can give, in order of precedence."""

_OUTCOMES = (
    *SPLITS,
    *(EMPTY_TEXT, ANOTHER_LANGUAGE, DUPLICATE, CONFLICTING_LABEL, EARLIER_COPY, NEAR_EARLIER),
    *(LEFT_OUT, NOT_IN_SHARE),
    *(reason for reasons in GIVEN.values() for reason in reasons),
)
PENDING = len(_OUTCOMES)
"""Code of a text without an outcome so far."""
CODE = {name: code for code, name in enumerate(_OUTCOMES)}
"""Name of each outcome to its code; the splits have the smallest ones."""


def outcome_name(code: int) -> str:
    """Return the name of an outcome: a split or a reason of rejection."""
    return _OUTCOMES[code]
