"""Personal data in texts: usual forms are found, other numbers are not, and nothing takes long."""

import time

import pytest

from textgate.pipelines.inspection.personal_data import find_personal_data, mask_personal_data

EMAIL, PHONE, CARD, IBAN = "e-mail address", "phone number", "card number", "IBAN"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("write to bob.b+x@mail.example.co.uk.", [(EMAIL, "bob.b+x@mail.example.co.uk")]),
        ("call +44 20 7946 0018", [(PHONE, "+44 20 7946 0018")]),
        ("call 0049 30 901820 now", [(PHONE, "0049 30 901820")]),
        ("(212) 555-0123 or 212-555-0123", [(PHONE, "(212) 555-0123"), (PHONE, "212-555-0123")]),
        ("win, call 09061701461now", [(PHONE, "09061701461")]),
        ("4111 1111 1111 1111 and 378282246310005", [(CARD, "4111 1111 1111 1111"), (CARD, "378282246310005")]),
        (
            "GB29 NWBK 6016 1331 9268 19, NO9386011117947",
            [(IBAN, "GB29 NWBK 6016 1331 9268 19"), (IBAN, "NO9386011117947")],
        ),
    ],
)
def test_usual_forms_are_found(text: str, found: list[tuple[str, str]]) -> None:
    assert [(value.kind, text[value.start : value.end]) for value in find_personal_data(text)] == found


@pytest.mark.parametrize(
    "text",
    [
        "@user and a@b, 10 @ 5.00",
        "on 01-12-2020 12:30, 2020-01-01 10:00:00, 10.5.2020",
        "1,234,567,890 people, 192.168.100.200, 3.14159265358979",
        "4111 1111 1111 1112 fails the check digit, 1234567890123452 has no issuer",
        "GB29 NWBK 6016 1331 9268 18",
        "ISBN 978-3-16-148410-0",
    ],
)
def test_other_numbers_are_not(text: str) -> None:
    assert find_personal_data(text) == []


def test_masks_keep_the_form_only() -> None:
    text = "Ann: ann@example.com, +44 20 7946 0018!"
    assert mask_personal_data(text) == "Ann: xxx@xxxxxxx.xxx, +00 00 0000 0000!"
    assert mask_personal_data("nothing 12") == "nothing 12"


@pytest.mark.parametrize("part", ["a", "1 ", "+1 ", "A1B2 ", "0", "a@a.", "12-", "4111 ", "GB29"])
def test_a_megabyte_takes_no_quadratic_time(part: str) -> None:
    started = time.process_time()
    find_personal_data(part * (1_000_000 // len(part)) + "@")
    assert time.process_time() - started < 5
