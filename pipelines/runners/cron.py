"""Validate a cron expression and convert it to the six fields that Kubeflow Pipelines expects.

The scheduler of KFP parses with github.com/robfig/cron version 1: seconds come first, and Sunday is 0 rather than 7.
"""

import re

from textgate.components.contracts import InputError

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_LONGEST = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
# Name, lowest and highest value, and names of the values in ascending order.
_FIELDS: list[tuple[str, int, int, list[str]]] = [
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
]
_PART = re.compile(r"(?P<all>[*?])(/(?P<each>\d+))?|(?P<first>\w+)(-(?P<last>\w+)(/(?P<every>\d+))?)?")


def six_fields(cron: str) -> str:
    """Return a cron expression with a field for seconds; an expression with six fields is not changed.

    Raises:
        InputError: A field is not valid, or the expression matches no date. The message names the field.
    """
    fields = cron.split()
    if len(fields) not in (5, 6):
        raise InputError(
            f"--cron {cron!r} has {len(fields)} fields, not the five of cron: minute, hour, day of the month, month, "
            "day of the week, such as '0 3 * * 1' for Mondays at 3:00"
        )
    if len(fields) == 6:
        _values(cron, fields[0], "second", 0, 59, [])
    _, _, days, months, weekdays = [
        _values(cron, text, *field) for text, field in zip(fields[-5:], _FIELDS, strict=True)
    ]
    if len(weekdays) == 7 and not any(day <= _LONGEST[month - 1] for day in days for month in months):
        raise InputError(f"--cron {cron!r} matches no date: none of its months has that day")
    return " ".join(fields if len(fields) == 6 else ["0", *fields])


def _values(cron: str, text: str, name: str, lowest: int, highest: int, names: list[str]) -> set[int]:
    """Return the values that a field matches."""

    def parse(word: str) -> int:
        value = names.index(word.lower()) + lowest if word.lower() in names else int(word) if word.isdecimal() else -1
        if not lowest <= value <= highest:
            raise InputError(f"--cron {cron!r}: the {name} must be {lowest} to {highest}, not {word!r}")
        return value

    values: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise InputError(
                f"--cron {cron!r}: {part!r} is not a valid {name}; write *, 5, 1-5, */10 or several with commas"
            )
        step = int(match["each"] or match["every"] or 1)
        first = lowest if match["all"] else parse(match["first"])
        last = highest if match["all"] else parse(match["last"] or match["first"])
        if step == 0 or last < first:
            raise InputError(f"--cron {cron!r}: {part!r} matches no {name}")
        values.update(range(first, last + 1, step))
    return values
