"""Building blocks of the charts: SVG elements, axes, the frame of a plot, legends and figures.

The charts are inline SVG without scripts. The output of plotly, Vega or Bokeh needs megabytes of JavaScript; a picture
by matplotlib has fixed colours and sizes and does not adapt to dark mode, phones and screen readers. The colours are
defined in ``templates/page.css``. Colour is never the only distinction: lines also differ in their dashes, points in
their shapes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH = 360.0
"""Width of every drawing in its own units, about the width of a phone, where text then has its nominal size."""
SERIES = 10
"""Number of distinct series colours."""

# Paths relative to the centre of a point.
_SHAPES = (
    "m-3,0a3,3 0 1,0 6,0a3,3 0 1,0-6,0",
    "m-2.7-2.7h5.4v5.4h-5.4z",
    "m0-3.4l3.3,5.8h-6.6z",
    "m0-3.7l3.7,3.7l-3.7,3.7l-3.7-3.7z",
    "m0,3.4l3.3-5.8h-6.6z",
    "m-3,0h6m-3-3v6",
    "m-2.6-2.6l5.2,5.2m0-5.2l-5.2,5.2",
)
SHAPE_RADIUS = 3.7
"""Largest distance of a shape's outline from its centre."""
_DASHES = ("none", "7 3", "2 3", "10 3 2 3", "4 2 1 2 1 2", "12 4", "1 2", "6 2 2 2", "3 5", "9 2")


class Box(NamedTuple):
    """Area of a drawing that holds the data."""

    left: float
    top: float
    right: float
    bottom: float


class Caption(NamedTuple):
    """Id, title and description of a figure."""

    id: str
    """Id in the page."""
    title: str
    text: str
    """Sentences that describe what the figure shows, for everyone and for screen readers in particular."""


def element(_name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; children and attribute values are escaped.

    Args:
        _name: Tag name.
        children: Content; ``Markup`` is inserted as it is.
        attributes: ``stroke_width=1`` becomes ``stroke-width="1"``, ``class_`` becomes ``class``; None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{coordinate(value) if _is_number(value) else escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(map(escape, children))
    return Markup(f"<{_name}{written}>{content}</{_name}>")  # noqa: S704 (everything is escaped above)


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def coordinate(value: object) -> str:
    """Format a coordinate, rounded to a tenth of a unit.

    Raises:
        ValueError: The coordinate is not finite.
    """
    rounded = round(float(value), 1)  # type: ignore[arg-type]
    if not math.isfinite(rounded):
        raise ValueError(f"{value} is not a coordinate of a drawing")
    return f"{rounded + 0.0:g}"


def text(x: float, y: float, content: object, kind: str = "tick", anchor: str = "middle") -> Markup:
    """Return a text element; ``kind`` is a CSS class of the page."""
    return element("text", content, x=x, y=y, class_=kind, text_anchor=anchor)


@dataclass(frozen=True)
class Axis:
    """Linear or logarithmic axis from ``low`` to ``high``."""

    label: str
    low: float
    high: float
    log: bool = False

    @classmethod
    def fit(cls, label: str, values: Sequence[float], log: bool = False) -> "Axis":
        """Return an axis that covers all ``values`` with a margin; on a log axis they must be positive."""
        numbers = [math.log10(value) for value in values] if log else list(values)
        low, high = min(numbers), max(numbers)
        margin = (high - low) * 0.08 or (0.3 if log else abs(low) * 0.1 or 1.0)
        if log:
            return cls(label, 10 ** (low - margin), 10 ** (high + margin), log=True)
        return cls(label, low - margin, high + margin)

    def fraction(self, value: float) -> float:
        """Return the position of a value between ``low`` (0) and ``high`` (1)."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return about two to eight round numbers between the ends; on a log axis, powers of ten if they fit."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            sparse = -(-len(decades) // 6)
            for factors, stride in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), sparse)):
                ticks = [factor * 10.0**decade for decade in decades[::stride] for factor in factors]
                inside = [tick for tick in ticks if self.low <= tick <= self.high]
                if 2 <= len(inside) <= 6:
                    return inside
        step = self._step()
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def tick_label(self, value: float) -> str:
        """Format the value of a tick."""
        if abs(value) >= 1_000_000:
            return f"{value / 1e6:,g}M"
        if self.log or value == 0:
            return f"{value:,g}" if value >= 0.001 or value == 0 else f"{value:.0e}"
        decimals = max(0, -math.floor(math.log10(self._step()) + 1e-9))
        return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")

    def _step(self) -> float:
        """Return the smallest of 1, 2 and 5 times a power of ten that gives at most six steps."""
        minimum = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(minimum))
        return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= minimum * (1 - 1e-9))


def frame(box: Box, x: Axis, y: Axis | None) -> Markup:
    """Return grid lines, ticks and axis labels; the label of the y axis is above it, so that it is not rotated."""
    parts = []
    for tick in x.ticks():
        position = x_position(box, x, tick)
        parts.append(element("line", x1=position, x2=position, y1=box.top, y2=box.bottom, class_="grid"))
        parts.append(text(position, box.bottom + 15, x.tick_label(tick)))
    parts.append(text((box.left + box.right) / 2, box.bottom + 32, x.label, "axis"))
    if y:
        for tick in y.ticks():
            position = y_position(box, y, tick)
            parts.append(element("line", x1=box.left, x2=box.right, y1=position, y2=position, class_="grid"))
            parts.append(text(box.left - 6, position + 4, y.tick_label(tick), anchor="end"))
        parts.append(text(0, 12, y.label, "axis", "start"))
    return Markup("").join(parts)


def x_position(box: Box, axis: Axis, value: float) -> float:
    """Return the horizontal coordinate of a value."""
    return box.left + axis.fraction(value) * (box.right - box.left)


def y_position(box: Box, axis: Axis, value: float) -> float:
    """Return the vertical coordinate of a value."""
    return box.bottom - axis.fraction(value) * (box.bottom - box.top)


def dot(x: float, y: float, series: int, tooltip: str = "", scale: float = 1.0) -> Markup:
    """Return a point with the colour and shape of a series.

    Args:
        x: Horizontal coordinate.
        y: Vertical coordinate.
        series: Index of the series.
        tooltip: Text that is shown when the pointer rests on the point.
        scale: Size relative to the normal size.
    """
    title = [element("title", tooltip)] if tooltip else []
    shape = _SHAPES[series % len(_SHAPES)]
    kind = f"dot s{series % SERIES}"
    position = f"{coordinate(x)},{coordinate(y)}"
    if scale == 1:
        return element("path", *title, class_=kind, d=f"M{position}{shape}")
    return element("path", *title, class_=kind, d=f"M0,0{shape}", transform=f"translate({position}) scale({scale:.2f})")


def path(points: Sequence[tuple[float, float]], series: int) -> Markup:
    """Return a line through coordinates, with the colour and dashes of a series."""
    commands = "M" + "L".join(f"{coordinate(x)},{coordinate(y)}" for x, y in points)
    dashes = _DASHES[series % len(_DASHES)]
    return element("path", class_=f"line s{series % SERIES}", d=commands, stroke_dasharray=dashes)


def legend(names: Mapping[int, str], lines: bool = False) -> Markup:
    """Return the legend of the series, from index to name; nothing for a single series."""
    if len(names) < 2:
        return Markup("")
    items = []
    for series, name in names.items():
        sample = path([(0, 5), (26, 5)], series) if lines else dot(6, 5, series)
        width = 26 if lines else 12
        key = element("svg", sample, viewBox=f"0 0 {width} 10", width=width, height=10, aria_hidden="true")
        items.append(element("li", key, name))
    return element("ul", *items, class_="legend", role="list")


def figure(caption: Caption, height: float, drawing: Sequence[Markup], key: str = "", kind: str = "plot") -> Markup:
    """Return a ``<figure>`` with caption, drawing and legend.

    Args:
        caption: Id, title and description.
        height: Height of the drawing in its own units; the width is ``WIDTH``.
        drawing: Elements of the drawing.
        key: Legend.
        kind: CSS classes of the figure.
    """
    svg = element(
        "svg",
        *drawing,
        viewBox=f"0 0 {coordinate(WIDTH)} {coordinate(height)}",
        role="img",
        aria_labelledby=f"{caption.id}-title",
        aria_describedby=f"{caption.id}-words",
    )
    figcaption = element(
        "figcaption",
        element("strong", caption.title, id=f"{caption.id}-title"),
        " ",
        element("span", caption.text, id=f"{caption.id}-words"),
    )
    return element("figure", figcaption, svg, key, id=caption.id, class_=kind)
