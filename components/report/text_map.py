"""Map of the test texts, by class and by error: a point per text, or hexagonal bins if there are many.

Carr, Littlefield, Nicholson and Littlefield, Scatterplot matrix techniques for large N (JASA 82, 1987) for the bins.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from textgate.components.contracts import Evaluation
from textgate.components.contracts.formatting import percent
from textgate.components.contracts.insight import MapPoint
from textgate.components.report.charts import shorten
from textgate.components.report.svg import (
    SERIES,
    SHAPE_RADIUS,
    WIDTH,
    Axis,
    Box,
    Caption,
    coordinate,
    dot,
    element,
    figure,
    legend,
    x_position,
    y_position,
)

Floats = npt.NDArray[np.float64]

MAX_DOTS = 1_500
"""Number of texts up to which each is drawn; more would cover each other and slow the browser down."""
_HEIGHT = 320.0
_BOX = Box(6, 6, WIDTH - 6, _HEIGHT - 6)
_HEXAGON_RADIUS = 9.0
_ANGLES = [math.pi / 3 * corner for corner in range(6)]
"""Directions of a hexagon's corners."""
_MARK_SIZE = 0.8
"""Largest radius of the mark in a hexagon, relative to the hexagon's; the inscribed circle has 0.87."""
_MIN_AREA = 0.1
"""Smallest area of a hexagon relative to the largest, so that it can be seen."""
_TOOLTIP_CHARACTERS = 120
_NEIGHBOURS = 10
_QUERIES = 2_000
"""Number of texts whose neighbours are compared; with more, evenly spaced ones are used."""
_CORRECT, _WRONG = 0, 6
"""Series of the map by error."""


class MapMark(NamedTuple):
    """Text on a map."""

    x: float
    y: float
    series: int
    tooltip: str


@dataclass(frozen=True)
class MapSeries:
    """Series of a map and how a bin of texts is described."""

    names: Mapping[int, str]
    highlight: int | None = None
    """Series whose share a hexagon shows; None for the most frequent one."""
    kind: str = "plot"
    """CSS classes of the figure."""


def text_maps(evaluation: Evaluation, points: Sequence[MapPoint]) -> list[Markup]:
    """Return the map by class and the map by error; the tooltips show the texts. Empty without points."""
    if not points:
        return []
    labels, truth, predicted = evaluation.manifest.labels, evaluation.truth, evaluation.predicted
    by_frequency = np.argsort(-np.bincount(truth, minlength=len(labels)), kind="stable")
    named = sorted(int(index) for index in (by_frequency if len(labels) <= SERIES else by_frequency[: SERIES - 1]))
    series = {label: index for index, label in enumerate(named)}
    by_class, by_error = [], []
    for point in points:
        label, prediction = int(truth[point.row]), int(predicted[point.row])
        classes = labels[label] if label == prediction else f"{labels[label]}, predicted {labels[prediction]}"
        content = " ".join(evaluation.texts[point.row].split())
        tooltip = f"{classes}: {shorten(content, _TOOLTIP_CHARACTERS)}"
        by_class.append(MapMark(point.x, point.y, series.get(label, SERIES - 1), tooltip))
        by_error.append(MapMark(point.x, point.y, _CORRECT if label == prediction else _WRONG, tooltip))
    names = {index: labels[label] for label, index in series.items()}
    if len(named) < len(labels):
        names[SERIES - 1] = "other classes"
    errors = sum(mark.series == _WRONG for mark in by_error)
    positions = np.array([(point.x, point.y) for point in points])
    same = _same_class_share(positions, truth[[point.row for point in points]])
    neighbours = f"Of the {_NEIGHBOURS} nearest neighbours of a text, {percent(same)} belong to its class."
    by_class_text = f"{len(points):,} test texts. {neighbours} {_how_to_read(len(points), 'its most frequent class')}"
    by_error_text = f"{errors:,} of these texts are misclassified. {_how_to_read(len(points), 'the errors')}"
    outcomes = {_CORRECT: "correct", _WRONG: "wrong"}
    return [
        _map(Caption("map-classes", "By class", by_class_text), by_class, MapSeries(names)),
        _map(Caption("map-errors", "By error", by_error_text), by_error, MapSeries(outcomes, _WRONG, "plot outcome")),
    ]


def _how_to_read(texts: int, share: str) -> str:
    if texts <= MAX_DOTS:
        return "Hover over a point to read its text."
    return f"The area of a hexagon shows the number of texts in it, the area of its mark the share of {share}."


def _map(caption: Caption, marks: Sequence[MapMark], series: MapSeries) -> Markup:
    """Return a map without axes, because its directions have no meaning."""
    x, y = Axis.fit("", [mark.x for mark in marks]), Axis.fit("", [mark.y for mark in marks])
    placed = [mark._replace(x=x_position(_BOX, x, mark.x), y=y_position(_BOX, y, mark.y)) for mark in marks]
    drawing = _dots(placed) if len(placed) <= MAX_DOTS else _hexagons(placed, series)
    border = element("rect", x=0.5, y=0.5, width=WIDTH - 1, height=_HEIGHT - 1, rx=6, class_="edge")
    group = element("g", *drawing, class_="cloud")
    return figure(caption, _HEIGHT, [border, group], legend(series.names), series.kind)


def _dots(marks: Sequence[MapMark]) -> list[Markup]:
    """Return a point per text, higher series on top."""
    ordered = sorted(marks, key=lambda mark: mark.series)
    return [dot(mark.x, mark.y, mark.series, mark.tooltip) for mark in ordered]


def _hexagons(marks: Sequence[MapMark], series: MapSeries) -> list[Markup]:
    """Return a hexagon per bin: its area shows the number of texts, that of its mark the share of a series."""
    bins: dict[tuple[float, float], list[MapMark]] = {}
    centres = hexagon_centres(np.array([(mark.x, mark.y) for mark in marks]), _HEXAGON_RADIUS)
    for mark, (x, y) in zip(marks, centres.tolist(), strict=True):
        bins.setdefault((x, y), []).append(mark)
    largest = max(map(len, bins.values()))
    return [
        _hexagon(centre, _HEXAGON_RADIUS * math.sqrt(max(len(content) / largest, _MIN_AREA)), content, series)
        for centre, content in sorted(bins.items())
    ]


def _hexagon(centre: tuple[float, float], radius: float, marks: Sequence[MapMark], series: MapSeries) -> Markup:
    counts = Counter(mark.series for mark in marks)
    shown = counts.most_common(1)[0][0] if series.highlight is None else series.highlight
    share = counts[shown] / len(marks)
    contents = ", ".join(f"{counts[index]:,} {name}" for index, name in series.names.items() if counts[index])
    corners = [(centre[0] + radius * math.sin(angle), centre[1] + radius * math.cos(angle)) for angle in _ANGLES]
    outline = "M" + "L".join(f"{coordinate(x)},{coordinate(y)}" for x, y in corners) + "z"
    mark = [dot(*centre, shown, scale=radius * _MARK_SIZE / SHAPE_RADIUS * math.sqrt(share))] if share else []
    return element(
        "g", element("title", f"{len(marks):,} texts: {contents}"), element("path", class_="hexagon", d=outline), *mark
    )


def hexagon_centres(points: Floats, radius: float) -> Floats:
    """Return the centre (n, 2) of the hexagon around each point (n, 2), in a grid of hexagons with ``radius``.

    The centres form two rectangular grids that are shifted by half a cell; a point belongs to the nearest centre.
    """
    spacing = np.array([math.sqrt(3), 3.0]) * radius
    even = np.round(points / spacing) * spacing
    odd = (np.floor(points / spacing) + 0.5) * spacing
    nearer_even = ((points - even) ** 2).sum(axis=1) <= ((points - odd) ** 2).sum(axis=1)
    return np.where(nearer_even[:, None], even, odd)


def _same_class_share(positions: Floats, classes: npt.NDArray[np.int64]) -> float:
    """Return the share of the nearest neighbours of the positions (n, 2) that have the same class (n,)."""
    neighbours = min(_NEIGHBOURS, len(positions) - 1)
    if not neighbours:
        return 1.0
    queries = np.unique(np.linspace(0, len(positions) - 1, min(_QUERIES, len(positions))).round().astype(np.int64))
    same = 0
    for query in queries:
        distances = ((positions - positions[query]) ** 2).sum(axis=1)
        distances[query] = np.inf
        nearest = np.argpartition(distances, neighbours - 1)[:neighbours]
        same += int((classes[nearest] == classes[query]).sum())
    return same / (len(queries) * neighbours)
