"""Personal data in texts: e-mail addresses, phone numbers, card numbers, bank account numbers.

The patterns prefer missing a value to taking another number for one. Sources:

- e-mail: valid e-mail address of the HTML Living Standard (section 4.10.5.1.5), with a top-level domain; the local part
  has at most 64 characters (RFC 5321, section 4.5.3.1.1).
- phone: international numbers of ITU-T E.164 (``+`` or ``00``, up to 15 digits), numbers of the North American
  Numbering Plan (NXX-NXX-XXXX, N from 2 to 9), and national numbers of 10 or 11 digits with the trunk prefix 0.
- card: 13 to 19 digits, undivided or in groups as printed, that begin as an issuer's (ISO/IEC 7812-1) and have the
  check digit of its annex B (Luhn).
- IBAN: ISO 13616, with the check digits of ISO/IEC 7064 MOD 97-10.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

KINDS = ("e-mail address", "phone number", "card number", "IBAN")
"""Kinds of personal data that ``find_personal_data`` finds."""
_EMAIL, _PHONE, _CARD, _IBAN = KINDS

_EMAIL_PATTERN = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]{2,63}"
)
_PHONE_PATTERN = re.compile(
    r"(?<![\w.,+-])(?:(?:\+|00)[1-9](?:[ .()/-]{0,2}\d){6,13}"
    r"|(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}"
    r"|0[1-9]\d{1,4}[ /-]?\d{3,8}(?:[ -]?\d{3,4})?)(?!\d)"
)
_NATIONAL_DIGITS = range(10, 12)
_CARD_PATTERN = re.compile(
    r"(?<![\w.,-])(?:\d{13,19}|\d{4}(?:([ -])\d{4}(?:\1\d{4}\1\d{4}(?:\1\d{3})?)|([ -])\d{6}\2\d{4,5}))(?![\w-])"
)
_ISSUER = re.compile(r"4|5|2[2-7]|3[04-9]|6")
_IBAN_PATTERN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_IBAN_LENGTHS = range(15, 35)
_THREE_DIGITS = re.compile(r"\d\D{0,2}\d\D{0,2}\d")
_NOT_DIGIT = re.compile(r"\D")
_LETTER, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\d")


class PersonalValue(NamedTuple):
    """Place of a value in a text."""

    kind: str
    """One of ``KINDS``."""
    start: int
    end: int


def find_personal_data(text: str) -> list[PersonalValue]:
    """Return the values in a text, in the order of their places, without overlaps."""
    found: list[PersonalValue] = []
    for value in _candidates(text):
        if not any(value.start < other.end and other.start < value.end for other in found):
            found.append(value)
    return sorted(found, key=lambda value: value.start)


def mask_personal_data(text: str) -> str:
    """Return the text with the letters of personal data as ``x`` and their digits as ``0``."""
    parts, end = [], 0
    for value in find_personal_data(text):
        parts += [text[end : value.start], mask(text[value.start : value.end])]
        end = value.end
    return "".join([*parts, text[end:]])


def mask(value: str) -> str:
    """Return a value with each letter as ``x`` and each digit as ``0``."""
    return _DIGIT.sub("0", _LETTER.sub("x", value))


def _candidates(text: str) -> Iterator[PersonalValue]:
    """Yield the values of the strictest pattern first."""
    if _THREE_DIGITS.search(text):
        for kind, pattern, is_valid in (
            (_IBAN, _IBAN_PATTERN, _is_iban),
            (_CARD, _CARD_PATTERN, _is_card),
            (_PHONE, _PHONE_PATTERN, _is_phone),
        ):
            for match in pattern.finditer(text):
                if is_valid(match[0]):
                    yield PersonalValue(kind, *match.span())
    if "@" in text:
        for match in _EMAIL_PATTERN.finditer(text):
            yield PersonalValue(_EMAIL, *match.span())


def _is_iban(value: str) -> bool:
    compact = value.replace(" ", "")
    rearranged = compact[4:] + compact[:4]
    return len(compact) in _IBAN_LENGTHS and int("".join(str(int(char, 36)) for char in rearranged)) % 97 == 1


def _is_card(value: str) -> bool:
    digits = _NOT_DIGIT.sub("", value)
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(number - 9 if number > 9 else number for number in doubled)
    return _ISSUER.match(digits) is not None and total % 10 == 0


def _is_phone(value: str) -> bool:
    is_national = value.startswith("0") and not value.startswith("00")
    return not is_national or len(_NOT_DIGIT.sub("", value)) in _NATIONAL_DIGITS
