"""What every chart is made of: an element, an axis, the frame around a plot, a legend, and the figure that holds all.

A chart is drawn once, as SVG that stands in the page, by few functions of our own: what a charting library draws needs
its script to be seen (plotly, Vega, Bokeh: megabytes), or is a picture with colours and sizes of its own (matplotlib),
which a dark screen, a phone and a screen reader all get the same. Colours are the page's, see ``templates/page.css``; a
colour never stands alone, lines differ in their dashes too and dots in their shapes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH = 360.0
"""Of every drawing, in its own units: about the width of a phone, on which a letter then has its own size."""
SERIES = 10
"""Colours there are."""

# Relative paths from a dot's centre.
SHAPES = (
    "m-3,0a3,3 0 1,0 6,0a3,3 0 1,0-6,0",
    "m-2.7-2.7h5.4v5.4h-5.4z",
    "m0-3.4l3.3,5.8h-6.6z",
    "m0-3.7l3.7,3.7l-3.7,3.7l-3.7-3.7z",
    "m0,3.4l3.3-5.8h-6.6z",
    "m-3,0h6m-3-3v6",
    "m-2.6-2.6l5.2,5.2m0-5.2l-5.2,5.2",
)
_DASHES = ("none", "7 3", "2 3", "10 3 2 3", "4 2 1 2 1 2", "12 4", "1 2", "6 2 2 2", "3 5", "9 2")


class Box(NamedTuple):
    """Where the data of a drawing go."""

    left: float
    top: float
    right: float
    bottom: float


def element(_name: str, *children: object, **attributes: object) -> Markup:
    """An element with everything in it escaped; ``stroke_width=1`` is ``stroke-width="1"``, ``class_`` is ``class``."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{number(value) if _is_number(value) else escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(map(escape, children))
    return Markup(f"<{_name}{written}>{content}</{_name}>")  # noqa: S704 (all of it is escaped above)


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def number(value: object) -> str:
    """A coordinate, to a tenth of a unit.

    Raises:
        ValueError: it is no finite number, which no drawing can have.
    """
    rounded = round(float(value), 1)  # type: ignore[arg-type]
    if not math.isfinite(rounded):
        raise ValueError(f"a drawing has no place for {value}")
    return f"{rounded + 0.0:g}"


def text(x: float, y: float, words: object, kind: str = "tick", anchor: str = "middle") -> Markup:
    """Words in a drawing; ``kind`` is a class of the page's style."""
    return element("text", words, x=x, y=y, class_=kind, text_anchor=anchor)


@dataclass(frozen=True)
class Axis:
    """What a direction means: from ``low`` to ``high``, in decades where ``log``."""

    label: str
    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, label: str, values: Sequence[float], log: bool = False) -> "Axis":
        """An axis on which all ``values`` have room; on one in decades they are above 0."""
        numbers = [math.log10(value) for value in values] if log else list(values)
        low, high = min(numbers), max(numbers)
        room = (high - low) * 0.08 or (0.3 if log else abs(low) * 0.1 or 1.0)
        if log:
            return cls(label, 10 ** (low - room), 10 ** (high + room), log=True)
        return cls(label, low - room, high + room)

    def share(self, value: float) -> float:
        """Where a value lies between ``low`` (0) and ``high`` (1)."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Some round numbers between the ends; of an axis in decades, powers of ten where it has room for them."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            rare = -(-len(decades) // 6)
            for factors, stride in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), rare)):
                ticks = [factor * 10.0**decade for decade in decades[::stride] for factor in factors]
                inside = [tick for tick in ticks if self.low <= tick <= self.high]
                if 2 <= len(inside) <= 6:
                    return inside
        step = self._step()
        first = math.ceil(self.low / step - 1e-9)
        return [first_step * step for first_step in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def words(self, value: float) -> str:
        """A tick's label."""
        if abs(value) >= 1_000_000:
            return f"{value / 1e6:,g}M"
        if self.log or value == 0:
            return f"{value:,g}" if value >= 0.001 or value == 0 else f"{value:.0e}"
        decimals = max(0, -math.floor(math.log10(self._step()) + 1e-9))
        return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")

    def _step(self) -> float:
        """Of 1, 2 and 5 times a power of ten, the smallest that makes six steps at most."""
        least = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(least))
        return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def frame(box: Box, x: Axis, y: Axis | None) -> Markup:
    """Lines of the grid, ticks and labels; the vertical axis has its label above it, where it reads without turning."""
    parts = []
    for tick in x.ticks():
        place = across(box, x, tick)
        parts.append(element("line", x1=place, x2=place, y1=box.top, y2=box.bottom, class_="grid"))
        parts.append(text(place, box.bottom + 15, x.words(tick)))
    parts.append(text((box.left + box.right) / 2, box.bottom + 32, x.label, "axis"))
    if y:
        for tick in y.ticks():
            place = down(box, y, tick)
            parts.append(element("line", x1=box.left, x2=box.right, y1=place, y2=place, class_="grid"))
            parts.append(text(box.left - 6, place + 4, y.words(tick), anchor="end"))
        parts.append(text(0, 12, y.label, "axis", "start"))
    return Markup("").join(parts)


def across(box: Box, axis: Axis, value: float) -> float:
    """Horizontal place of a value."""
    return box.left + axis.share(value) * (box.right - box.left)


def down(box: Box, axis: Axis, value: float) -> float:
    """Vertical place of a value; high ones are above."""
    return box.bottom - axis.share(value) * (box.bottom - box.top)


def dot(x: float, y: float, series: int, hover: str = "") -> Markup:
    """A dot of a series' colour and shape, with words for a pointer that rests on it."""
    title = [element("title", hover)] if hover else []
    shape = SHAPES[series % len(SHAPES)]
    return element("path", *title, class_=f"dot s{series % SERIES}", d=f"M{number(x)},{number(y)}{shape}")


def path(points: Sequence[tuple[float, float]], series: int) -> Markup:
    """A line through places in a drawing, of a series' colour and dashes."""
    way = "M" + "L".join(f"{number(x)},{number(y)}" for x, y in points)
    return element("path", class_=f"line s{series % SERIES}", d=way, stroke_dasharray=_DASHES[series % len(_DASHES)])


def legend(names: Mapping[int, str], lines: bool = False) -> Markup:
    """Which series is which, by number; nothing where there is one only."""
    if len(names) < 2:
        return Markup("")
    items = []
    for series, name in names.items():
        drawn = path([(0, 5), (26, 5)], series) if lines else dot(6, 5, series)
        width = 26 if lines else 12
        key = element("svg", drawn, viewBox=f"0 0 {width} 10", width=width, height=10, aria_hidden="true")
        items.append(element("li", key, name))
    return element("ul", *items, class_="legend", role="list")


def figure(
    name: str, title: str, words: str, height: float, drawing: Sequence[Markup], key: Markup, kind: str = "plot"
) -> Markup:
    """The chart with its title and a sentence that says what is seen, for those who do not see it and those who do.

    ``name`` is its id in the page, ``kind`` its classes in the page's style.
    """
    drawn = element(
        "svg",
        *drawing,
        viewBox=f"0 0 {number(WIDTH)} {number(height)}",
        role="img",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-words",
    )
    caption = element(
        "figcaption", element("strong", title, id=f"{name}-title"), " ", element("span", words, id=f"{name}-words")
    )
    return element("figure", caption, drawn, key, id=name, class_=kind)
