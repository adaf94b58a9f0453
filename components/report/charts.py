"""The charts of a page, each a whole ``<figure>`` as Markup: what is drawn, a legend, a title and a sentence.

Every function takes first the figure's id in the page, its title, and the sentence that says what is seen on it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from textgate.components.contracts import Estimate
from textgate.components.report.page import signed
from textgate.components.report.svg import (
    SERIES,
    WIDTH,
    Axis,
    Box,
    across,
    dot,
    down,
    element,
    figure,
    frame,
    legend,
    path,
    text,
)

_HEIGHT = 252.0
_BOX = Box(44, 24, WIDTH - 8, _HEIGHT - 38)
_POINTS = 200
"""Of a line, at most: more are not seen."""


class Line(NamedTuple):
    """A line of a chart through points (x, y), in the order given."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False
    """Mark each point too."""


def line_chart(
    name: str, title: str, words: str, lines: Sequence[Line], x: Axis, y: Axis, diagonal: bool = False
) -> Markup:
    """Lines; ``diagonal`` draws the one of equal values beneath them."""
    drawing = [frame(_BOX, x, y)]
    if diagonal:
        ends = [(across(_BOX, x, value), down(_BOX, y, value)) for value in (0.0, 1.0)]
        (x1, y1), (x2, y2) = ends
        drawing.append(element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="reference"))
    for series, line in enumerate(lines):
        places = [(across(_BOX, x, a), down(_BOX, y, b)) for a, b in thinned(line.points)]
        drawing.append(path(places, series))
        if line.dots:
            told = [f"{line.name}: {x.label} {a:,.4g}, {y.label} {b:,.4g}" for a, b in thinned(line.points)]
            drawing += [dot(a, b, series, hover) for (a, b), hover in zip(places, told, strict=True)]
    return figure(
        name,
        title,
        words,
        _HEIGHT,
        drawing,
        legend({number: line.name for number, line in enumerate(lines)}, lines=True),
    )


def thinned(points: Sequence[tuple[float, float]], most: int = _POINTS) -> list[tuple[float, float]]:
    """The finite ones, at most so many, evenly, the first and the last among them."""
    finite = [point for point in points if all(map(math.isfinite, point))]
    if len(finite) <= most:
        return finite
    step = (len(finite) - 1) / (most - 1)
    return [finite[round(number * step)] for number in range(most)]


def histogram(
    name: str, title: str, words: str, edges: Sequence[float], counts: Sequence[int], x: str, unit: str
) -> Markup:
    """Columns, one between each two ``edges``; ``unit`` is what is counted."""
    across_axis, up = Axis(x, edges[0], edges[-1]), Axis(unit, 0, max(*counts, 1) * 1.05)
    drawing = [frame(_BOX, across_axis, up)]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        left, right, top = across(_BOX, across_axis, low), across(_BOX, across_axis, high), down(_BOX, up, count)
        hover = element("title", f"{low:,g} to {high:,g}: {count:,} {unit}")
        width, height = max(right - left - 1, 0.5), _BOX.bottom - top
        drawing.append(element("rect", hover, x=left + 0.5, y=top, width=width, height=height, class_="bar s0"))
    return figure(name, title, words, _HEIGHT, drawing, Markup(""))


def bars(
    name: str,
    title: str,
    words: str,
    rows: Sequence[tuple[str, Sequence[tuple[float, str]]]],
    series: Sequence[str],
) -> Markup:
    """Horizontal bars of a series each, a group of them under its name, as (length from 0 to 1, label)."""
    thick, room = 13.0, 92.0
    drawing, top = [], 0.0
    for group, lengths in rows:
        drawing.append(text(0, top + 13, cut(group, 52), "row", "start"))
        top += 19
        for number, (length, label) in enumerate(lengths):
            width = max(length * (WIDTH - room), 1)
            hover = element("title", f"{group}, {series[number]}: {label}")
            kind = f"bar s{number % SERIES}"
            drawing.append(element("rect", hover, x=0, y=top, width=width, height=thick - 3, class_=kind))
            drawing.append(text(width + 5, top + 9, label, "small", "start"))
            top += thick
        top += 7
    return figure(name, title, words, top, drawing, legend(dict(enumerate(series))))


def intervals(
    name: str,
    title: str,
    words: str,
    rows: Sequence[tuple[str, Estimate]],
    x: str,
    reference: float,
) -> Markup:
    """A row each, its value as a dot and its 95 % interval as a line, against a line at ``reference``."""
    each, box = 22.0, Box(126, 4, WIDTH - 58, 4 + 22.0 * len(rows))
    axis = Axis.over(x, [reference, *(number for _, found in rows for number in (found.low, found.high))])
    zero = across(box, axis, reference)
    drawing = [frame(box, axis, None)]
    drawing.append(element("line", x1=zero, x2=zero, y1=box.top, y2=box.bottom, class_="reference"))
    for number, (label, found) in enumerate(rows):
        middle = box.top + (number + 0.5) * each
        low, value, high = (across(box, axis, place) for place in (found.low, found.value, found.high))
        written = signed(found.value, 3) if reference == 0 else f"{found.value:.3f}"
        drawing += [
            text(box.left - 8, middle + 4, cut(label, 17), "row", "end"),
            element("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker s0"),
            dot(value, middle, 0, f"{label}: {found}"),
            text(WIDTH, middle + 4, written, "tick", "end"),
        ]
    return figure(name, title, words, box.bottom + 38, drawing, Markup(""))


@dataclass(frozen=True)
class Labelled:
    """A point with its name beside it."""

    label: str
    x: float
    y: float
    marked: bool = False
    """Drawn full, in bold, and joined with the other marked ones, as a Pareto front is."""
    y_low: float | None = None
    y_high: float | None = None
    """Ends of its error bar."""


def scatter(name: str, title: str, words: str, points: Sequence[Labelled], x: Axis, y: Axis) -> Markup:
    """Few points with their names; use ``Axis.over`` for axes on which they and their error bars have room."""
    box = Box(_BOX.left, _BOX.top, _BOX.right, _BOX.bottom + 40)
    places = [(across(box, x, point.x), down(box, y, point.y)) for point in points]
    marked = sorted(place for place, point in zip(places, points, strict=True) if point.marked)
    drawing = [frame(box, x, y)]
    if len(marked) > 1:
        drawing.append(element("path", class_="reference", d="M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in marked)))
    taken = [(a - 5, b - 5, a + 5, b + 5) for a, b in places]
    for point, (a, b) in zip(points, places, strict=True):
        kind = "marked" if point.marked else "unmarked"
        if point.y_low is not None and point.y_high is not None:
            top, bottom = down(box, y, point.y_high), down(box, y, point.y_low)
            drawing.append(element("line", x1=a, x2=a, y1=top, y2=bottom, class_="whisker s0"))
        hover = element("title", f"{point.label}: {x.label} {point.x:,.4g}, {y.label} {point.y:.4f}")
        drawing.append(element("circle", hover, cx=a, cy=b, r=4.5 if point.marked else 4, class_=kind))
        label = cut(point.label, 24)
        width = (7.1 if point.marked else 6.3) * len(label)
        left, baseline = _free_place(a, b, width, taken, box)
        taken.append((left, baseline - 10, left + width, baseline + 2))
        drawing.append(text(left, baseline, label, f"row {kind}", "start"))
    return figure(name, title, words, _HEIGHT + 40, drawing, Markup(""))


def _free_place(
    x: float, y: float, width: float, taken: Sequence[tuple[float, float, float, float]], box: Box
) -> tuple[float, float]:
    """Left end and baseline of a label beside (x, y): where it covers least of what is there already."""
    lines = [y + 4, y - 8, y + 17, y - 20, y + 29]
    choices = [
        (min(max(left, box.left), max(box.right - width, box.left)), line)
        for line in lines
        for left in (x + 8, x - 8 - width, x - width / 2)
        if box.top + 8 <= line <= box.bottom - 2
    ]

    def covered(choice: tuple[float, float]) -> float:
        left, line = choice
        return sum(
            max(0.0, min(left + width, right) - max(left, other))
            * max(0.0, min(line + 2, bottom) - max(line - 10, top))
            for other, top, right, bottom in taken
        )

    return min(choices, key=covered)


class Dot(NamedTuple):
    """One of many points; ``series`` is the number of a name."""

    x: float
    y: float
    series: int
    hover: str


def cloud(
    name: str, title: str, words: str, dots: Sequence[Dot], series: Mapping[int, str], kind: str = "plot"
) -> Markup:
    """Many points on a map whose directions mean nothing, higher series on top; ``kind``: classes of the figure."""
    height = 320.0
    box = Box(6, 6, WIDTH - 6, height - 6)
    x, y = Axis.over("", [point.x for point in dots]), Axis.over("", [point.y for point in dots])
    drawn = [
        dot(across(box, x, point.x), down(box, y, point.y), point.series, point.hover)
        for point in sorted(dots, key=lambda point: point.series)
    ]
    edge = element("rect", x=0.5, y=0.5, width=WIDTH - 1, height=height - 1, rx=6, class_="edge")
    drawing = [edge, element("g", *drawn, class_="cloud")]
    return figure(name, title, words, height, drawing, legend(series), kind)


def share_bar(share: float) -> Markup:
    """A length from 0 to 1 beside its number in a table."""
    return element(
        "svg",
        element("rect", x=0, y=4, width=max(100 * share, 0.5), height=8, class_="span"),
        viewBox="0 0 100 16",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def range_bar(found: Estimate) -> Markup:
    """A value with its interval between 0 and 1, beside the numbers in a table; nothing for what may lie outside."""
    if not 0 <= found.low <= found.high <= 1:
        return Markup("")
    return element(
        "svg",
        element("rect", x=0, y=7, width=100, height=2, class_="track"),
        element(
            "rect", x=100 * found.low, y=4, width=max(100 * (found.high - found.low), 0.5), height=8, class_="span"
        ),
        element("rect", x=100 * found.value - 0.4, y=1, width=0.8, height=14, class_="value"),
        viewBox="0 0 100 16",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def cut(words: str, most: int) -> str:
    """The beginning of a text that is longer."""
    return words if len(words) <= most else f"{words[: most - 1].rstrip()}…"
