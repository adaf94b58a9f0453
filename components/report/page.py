"""Self-contained HTML pages: one file without scripts and external resources; all values are escaped."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from textgate.components.contracts import duration, write_file
from textgate.components.contracts.formatting import count, interval, megabytes, percent, signed, signed_interval
from textgate.components.version import __version__

_PACKAGE = "textgate.components.report"


class PageSection(NamedTuple):
    """Section of a page."""

    id: str
    """Id in the page."""
    title: str
    template: str
    """File name of the section's template."""


class PageLayout(NamedTuple):
    """Title, header and sections of a page."""

    title: str
    header: str
    """File name of the header's template."""
    sections: list[PageSection]
    package: str = _PACKAGE
    """Package with a folder ``templates``, which is searched before the report's own."""
    footnote: str = "Intervals are 95 % intervals; those that rest on fewer than 20 texts say so."
    """Sentence at the end of the page."""


def write_page(path: Path, layout: PageLayout, **values: object) -> None:
    """Write a page from ``templates/base.html`` and the templates of its header and sections.

    Args:
        path: HTML file to write.
        layout: Title, header and sections.
        values: Variables of the templates, which may also import ``macros.html``.
    """
    template = _environment(layout.package).get_template("base.html")
    write_file(path, template.render(layout=layout, textgate_version=__version__, **values))


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, _PACKAGE))]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "signed": signed,
        "percent": percent,
        "megabytes": megabytes,
        "duration": duration,
        "interval": interval,
        "signed_interval": signed_interval,
    }
    return environment
