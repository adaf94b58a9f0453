"""Charts, each as a ``<figure>`` with caption and legend: lines, histograms, bars, intervals and scatter plots."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from textgate.components.contracts import Estimate
from textgate.components.contracts.formatting import signed
from textgate.components.report.svg import (
    SERIES,
    WIDTH,
    Axis,
    Box,
    Caption,
    dot,
    element,
    figure,
    frame,
    legend,
    path,
    text,
    x_position,
    y_position,
)

_HEIGHT = 252.0
_BOX = Box(44, 24, WIDTH - 8, _HEIGHT - 38)
_MAX_LINE_POINTS = 200
"""More points of a line cannot be distinguished."""


class Line(NamedTuple):
    """Line through points (x, y), in the given order."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False
    """Mark each point."""


def line_chart(caption: Caption, lines: Sequence[Line], x: Axis, y: Axis, diagonal: bool = False) -> Markup:
    """Return a line chart; ``diagonal`` adds the line y = x."""
    drawing = [frame(_BOX, x, y)]
    if diagonal:
        ends = [(x_position(_BOX, x, value), y_position(_BOX, y, value)) for value in (0.0, 1.0)]
        (x1, y1), (x2, y2) = ends
        drawing.append(element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="reference"))
    for series, line in enumerate(lines):
        points = downsample(line.points)
        positions = [(x_position(_BOX, x, a), y_position(_BOX, y, b)) for a, b in points]
        drawing.append(path(positions, series))
        if line.dots:
            tooltips = [f"{line.name}: {x.label} {a:,.4g}, {y.label} {b:,.4g}" for a, b in points]
            drawing += [dot(a, b, series, tooltip) for (a, b), tooltip in zip(positions, tooltips, strict=True)]
    names = {series: line.name for series, line in enumerate(lines)}
    return figure(caption, _HEIGHT, drawing, legend(names, lines=True))


def downsample(points: Sequence[tuple[float, float]], limit: int = _MAX_LINE_POINTS) -> list[tuple[float, float]]:
    """Return at most ``limit`` of the finite points, evenly spaced, with the first and the last."""
    finite = [point for point in points if all(map(math.isfinite, point))]
    if len(finite) <= limit:
        return finite
    step = (len(finite) - 1) / (limit - 1)
    return [finite[round(index * step)] for index in range(limit)]


def histogram(caption: Caption, edges: Sequence[float], counts: Sequence[int], x_label: str, unit: str) -> Markup:
    """Return a histogram.

    Args:
        caption: Id, title and description.
        edges: Edges of the bins, one more than ``counts``.
        counts: Height of each bin.
        x_label: Label of the x axis.
        unit: Plural noun for the counted items.
    """
    x, y = Axis(x_label, edges[0], edges[-1]), Axis(unit, 0, max(*counts, 1) * 1.05)
    drawing = [frame(_BOX, x, y)]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        left, right, top = x_position(_BOX, x, low), x_position(_BOX, x, high), y_position(_BOX, y, count)
        tooltip = element("title", f"{low:,g} to {high:,g}: {count:,} {unit}")
        width, height = max(right - left - 1, 0.5), _BOX.bottom - top
        drawing.append(element("rect", tooltip, x=left + 0.5, y=top, width=width, height=height, class_="bar s0"))
    return figure(caption, _HEIGHT, drawing)


class BarGroup(NamedTuple):
    """Bars under a common name, one per series."""

    name: str
    bars: Sequence[tuple[float, str]]
    """Length from 0 to 1, and label, of each bar."""


def bar_chart(caption: Caption, groups: Sequence[BarGroup], series: Sequence[str]) -> Markup:
    """Return a horizontal bar chart; ``series`` are the names of the bars in each group."""
    bar_height, label_width = 13.0, 92.0
    drawing, top = [], 0.0
    for group in groups:
        drawing.append(text(0, top + 13, shorten(group.name, 52), "row", "start"))
        top += 19
        for index, (length, label) in enumerate(group.bars):
            width = max(length * (WIDTH - label_width), 1)
            tooltip = element("title", f"{group.name}, {series[index]}: {label}")
            kind = f"bar s{index % SERIES}"
            drawing.append(element("rect", tooltip, x=0, y=top, width=width, height=bar_height - 3, class_=kind))
            drawing.append(text(width + 5, top + 9, label, "small", "start"))
            top += bar_height
        top += 7
    return figure(caption, top, drawing, legend(dict(enumerate(series))))


def interval_chart(caption: Caption, rows: Sequence[tuple[str, Estimate]], x_label: str, reference: float) -> Markup:
    """Return a chart with one row per estimate: the value as a dot, its 95 % interval as a line.

    Args:
        caption: Id, title and description.
        rows: Label and estimate of each row.
        x_label: Label of the x axis.
        reference: Value that is marked by a dashed line; if it is 0, the estimates are differences.
    """
    row_height, box = 22.0, Box(126, 4, WIDTH - 58, 4 + 22.0 * len(rows))
    axis = Axis.fit(x_label, [reference, *(end for _, estimate in rows for end in (estimate.low, estimate.high))])
    zero = x_position(box, axis, reference)
    drawing = [frame(box, axis, None)]
    drawing.append(element("line", x1=zero, x2=zero, y1=box.top, y2=box.bottom, class_="reference"))
    for index, (label, estimate) in enumerate(rows):
        y = box.top + (index + 0.5) * row_height
        low, value, high = (x_position(box, axis, number) for number in (estimate.low, estimate.value, estimate.high))
        value_label = signed(estimate.value, 3) if reference == 0 else f"{estimate.value:.3f}"
        drawing += [
            text(box.left - 8, y + 4, shorten(label, 17), "row", "end"),
            element("line", x1=low, x2=high, y1=y, y2=y, class_="whisker s0"),
            dot(value, y, 0, f"{label}: {estimate}"),
            text(WIDTH, y + 4, value_label, "tick", "end"),
        ]
    return figure(caption, box.bottom + 38, drawing)


@dataclass(frozen=True)
class ScatterPoint:
    """Labelled point of a scatter plot."""

    label: str
    x: float
    y: float
    marked: bool = False
    """Draw it filled, with a bold label, and connect it with the other marked points, such as a Pareto front."""
    y_low: float | None = None
    """Lower end of the error bar."""
    y_high: float | None = None
    """Upper end of the error bar."""


def scatter_plot(caption: Caption, points: Sequence[ScatterPoint], x: Axis, y: Axis) -> Markup:
    """Return a scatter plot of a few labelled points; the axes must cover the points and their error bars."""
    box = Box(_BOX.left, _BOX.top, _BOX.right, _BOX.bottom + 40)
    positions = [(x_position(box, x, point.x), y_position(box, y, point.y)) for point in points]
    marked = sorted(position for position, point in zip(positions, points, strict=True) if point.marked)
    drawing = [frame(box, x, y)]
    if len(marked) > 1:
        drawing.append(element("path", class_="reference", d="M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in marked)))
    occupied = [Box(a - 5, b - 5, a + 5, b + 5) for a, b in positions]
    for point, (a, b) in zip(points, positions, strict=True):
        kind = "marked" if point.marked else "unmarked"
        if point.y_low is not None and point.y_high is not None:
            top, bottom = y_position(box, y, point.y_high), y_position(box, y, point.y_low)
            drawing.append(element("line", x1=a, x2=a, y1=top, y2=bottom, class_="whisker s0"))
        tooltip = element("title", f"{point.label}: {x.label} {point.x:,.4g}, {y.label} {point.y:.4f}")
        drawing.append(element("circle", tooltip, cx=a, cy=b, r=4.5 if point.marked else 4, class_=kind))
        label = shorten(point.label, 24)
        width = (7.1 if point.marked else 6.3) * len(label)
        left, baseline = _label_position((a, b), width, occupied, box)
        occupied.append(Box(left, baseline - 10, left + width, baseline + 2))
        drawing.append(text(left, baseline, label, f"row {kind}", "start"))
    return figure(caption, _HEIGHT + 40, drawing)


def _label_position(point: tuple[float, float], width: float, occupied: Sequence[Box], box: Box) -> tuple[float, float]:
    """Return left end and baseline of a label next to ``point``, where it overlaps the occupied areas least."""
    x, y = point
    baselines = [y + 4, y - 8, y + 17, y - 20, y + 29]
    choices = [
        (min(max(left, box.left), max(box.right - width, box.left)), baseline)
        for baseline in baselines
        for left in (x + 8, x - 8 - width, x - width / 2)
        if box.top + 8 <= baseline <= box.bottom - 2
    ]

    def overlap(choice: tuple[float, float]) -> float:
        left, baseline = choice
        return sum(
            max(0.0, min(left + width, other.right) - max(left, other.left))
            * max(0.0, min(baseline + 2, other.bottom) - max(baseline - 10, other.top))
            for other in occupied
        )

    return min(choices, key=overlap)


def share_bar(share: float) -> Markup:
    """Return a bar for a table cell, with a length from 0 to 1."""
    return _cell_chart(element("rect", x=0, y=4, width=max(100 * share, 0.5), height=8, class_="span"))


def range_bar(estimate: Estimate) -> Markup:
    """Return a bar for a table cell with value and interval; empty without an interval between 0 and 1."""
    if estimate.withheld or not 0 <= estimate.low <= estimate.high <= 1:
        return Markup("")
    low, width = 100 * estimate.low, max(100 * (estimate.high - estimate.low), 0.5)
    return _cell_chart(
        element("rect", x=0, y=7, width=100, height=2, class_="track"),
        element("rect", x=low, y=4, width=width, height=8, class_="span"),
        element("rect", x=100 * estimate.value - 0.4, y=1, width=0.8, height=14, class_="value"),
    )


def _cell_chart(*drawing: Markup) -> Markup:
    return element("svg", *drawing, viewBox="0 0 100 16", preserveAspectRatio="none", aria_hidden="true")


def shorten(content: str, limit: int) -> str:
    """Return the text, or its beginning with an ellipsis if it has more than ``limit`` characters."""
    return content if len(content) <= limit else f"{content[: limit - 1].rstrip()}…"
