"""Pages of one file: nothing is loaded from elsewhere, nothing runs, and all that comes from data is escaped."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from textgate.components.contracts import Estimate, duration
from textgate.components.version import __version__

ROOM = "textgate.components.report"


class Part(NamedTuple):
    """A section of a page."""

    name: str
    """Its id in the page."""
    title: str
    template: str


def write_page(path: Path, room: str, title: str, top: str, parts: list[Part], **values: object) -> None:
    """Write a page in the look of all pages: ``templates/base.html`` with the template ``top`` and the sections.

    ``room`` is the package whose folder ``templates`` is looked into first; ``values`` are what its templates use. They
    may import ``macros.html``.
    """
    page = (
        _environment(room)
        .get_template("base.html")
        .render(title=title, top=top, parts=parts, product=__version__, **values)
    )
    path.write_text(page, "utf-8")


@cache
def _environment(room: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in dict.fromkeys((room, ROOM))]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": lambda value: f"{value:,.0f}",
        "signed": signed,
        "percent": percent,
        "megabytes": lambda value: f"{value / 1e6:,.{0 if value >= 1e8 else 1}f} MB",
        "duration": duration,
        "interval": interval,
    }
    return environment


def percent(share: float) -> str:
    """A share with a decimal; never 100 % for what is not all, nor 0 % for what is not nothing."""
    if 0.9995 <= share < 1:
        return "> 99.9\N{NO-BREAK SPACE}%"
    if 0 < share < 0.0005:
        return "< 0.1\N{NO-BREAK SPACE}%"
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def signed(value: float, decimals: int = 4) -> str:
    """A difference with its sign."""
    return f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def interval(found: Estimate) -> str:
    """The 95 % interval in words."""
    return f"{found.low:.4f} to {found.high:.4f}".replace("-", "\N{MINUS SIGN}")
