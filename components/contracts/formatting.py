"""Numbers as text, the same in the report, the model card and the pages: shares, differences, intervals, sizes."""

from textgate.components.contracts.evaluation import Estimate


def percent(share: float, decimals: int = 1) -> str:
    """Format a share, such as ``12.5 %``; only exactly 0 and 1 are shown as 0.0 % and 100.0 %."""
    step = 10.0**-decimals
    comparison, percentage = "", 100 * share
    if 100 - step / 2 <= percentage < 100:
        comparison, percentage = "> ", 100 - step
    elif 0 < percentage < step / 2:
        comparison, percentage = "< ", step
    return f"{comparison}{percentage:.{decimals}f}\N{NO-BREAK SPACE}%"


def count(number: float) -> str:
    """Format a number without decimals, with a comma between thousands."""
    return f"{number:,.0f}"


def signed(value: float, decimals: int = 4) -> str:
    """Format a difference with its sign."""
    return f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def interval(estimate: Estimate) -> str:
    """Format the 95 % interval, marked if it rests on few rows, or the reason why there is none."""
    if estimate.withheld:
        return f"no interval: {estimate.withheld}"
    return f"{estimate.low:.4f} to {estimate.high:.4f}".replace("-", "\N{MINUS SIGN}") + estimate.mark


def signed_interval(estimate: Estimate) -> str:
    """Format the 95 % interval of a difference."""
    return f"{signed(estimate.low)} to {signed(estimate.high)}"


def with_interval(estimate: Estimate) -> str:
    """Format a value with its 95 % interval in parentheses."""
    return f"{estimate.value:.4f} ({interval(estimate)})"


def megabytes(size: float) -> str:
    """Format a number of bytes in MB; with one decimal below 100 MB."""
    return f"{size / 1e6:,.{0 if size >= 1e8 else 1}f} MB"
