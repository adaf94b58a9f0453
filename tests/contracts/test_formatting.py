"""Numbers as text."""

import pytest

from textgate.components.contracts import Estimate
from textgate.components.contracts.formatting import count, interval, megabytes, percent, signed, with_interval


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (0.0004, "< 0.1 %"), (0.125, "12.5 %"), (0.9994, "99.9 %"), (0.9996, "> 99.9 %"), (1, "100.0 %")],
)
def test_a_share_is_rounded_to_0_or_100_percent_only_if_it_is_exactly_that(share: float, text: str) -> None:
    assert percent(share) == text.replace(" %", "\N{NO-BREAK SPACE}%")


def test_a_share_can_have_more_decimals() -> None:
    assert [percent(share, 2) for share in (0.0015, 0.00004, 0.99996)] == ["0.15\xa0%", "< 0.01\xa0%", "> 99.99\xa0%"]


def test_numbers_have_separators_signs_and_units() -> None:
    estimate = Estimate(value=-0.05, low=-0.1, high=0.02)
    assert count(25_000) == "25,000"
    assert signed(-0.05) == "\N{MINUS SIGN}0.0500"
    assert signed(0.054, 2) == "+0.05"
    assert interval(estimate) == "\N{MINUS SIGN}0.1000 to 0.0200"
    assert with_interval(Estimate(value=0.8, low=0.78, high=0.82)) == "0.8000 (0.7800 to 0.8200)"
    few = Estimate(value=0.8, low=0.5, high=0.9, rows=7)
    assert (interval(few), with_interval(few)) == ("0.5000 to 0.9000; 7 texts", "0.8000 (0.5000 to 0.9000; 7 texts)")
    assert interval(Estimate(value=0, low=0, high=1, withheld="no text has the class")) == (
        "no interval: no text has the class"
    )
    assert (megabytes(23_000_000), megabytes(2_310_000_000)) == ("23.0 MB", "2,310 MB")
