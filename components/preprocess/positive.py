"""The positive class of a two-label task: the last label, about which F1, precision and recall are."""

from collections.abc import Sequence

from textgate.components.step import WARNING_PREFIX, InputError

_NEGATIVES = frozenset(
    {
        *("0", "-1", "no", "n", "false", "f", "off", "none", "negative", "neg", "normal", "ham", "legit", "legitimate"),
        *("genuine", "benign", "clean", "safe", "neutral", "other"),
    }
)
"""Labels that name the absence of something, in lower case."""
_NEGATION = ("not", "non", "no ", "no-", "no_", "un")


def with_positive_last(labels: Sequence[str], positive: str | None) -> list[str]:
    """Return the labels with the positive class at the end.

    Without ``positive`` the order stays, and a warning is printed if the labels do not make clear that the last one is
    meant, as they do in ``0, 1``, ``ham, spam`` or ``nonhate, hate``.

    Args:
        labels: Label names in class order.
        positive: The recipe's ``preprocess.positive``.

    Raises:
        InputError: There is no such label, or there are more than two labels.
    """
    if positive is None:
        if len(labels) == 2 and not is_negative(labels[0], labels[1]):
            print(
                f"{WARNING_PREFIX}F1, precision and recall are those of {labels[1]!r}, the last of the labels "
                f"{', '.join(map(repr, labels))}; if {labels[0]!r} is the class to find, set preprocess.positive to it",
                flush=True,
            )
        return list(labels)
    if positive not in labels:
        raise InputError(f"preprocess.positive is {positive!r}, but the labels are {', '.join(map(repr, labels))}")
    if len(labels) != 2:
        raise InputError(f"preprocess.positive={positive} is for two labels, but there are {len(labels)}: leave it out")
    return [label for label in labels if label != positive] + [positive]


def is_negative(label: str, other: str) -> bool:
    """Whether a label names the absence of what the ``other`` label names."""
    name, named = label.casefold(), other.casefold()
    return name in _NEGATIVES or (name.startswith(_NEGATION) and name.endswith(named) and name != named)
