"""Map of the test texts: points for few texts, hexagonal bins for many."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report.sample_run import evaluation

from textgate.components.contracts.insight import MapPoint
from textgate.components.report.text_map import MAX_DOTS, hexagon_centres, text_maps


def maps(points: list[MapPoint]) -> tuple[ElementTree.Element, ElementTree.Element]:
    by_class, by_error = text_maps(evaluation(MAX_DOTS + 1, bare=True), points)
    return ElementTree.fromstring(str(by_class)), ElementTree.fromstring(str(by_error))


def random_points(count: int) -> list[MapPoint]:
    positions = np.random.default_rng(0).normal(size=(count, 2)).tolist()
    return [MapPoint(row=row, x=x, y=y) for row, (x, y) in enumerate(positions)]


def test_few_texts_are_points_with_the_text_as_tooltip() -> None:
    by_class, by_error = maps(random_points(MAX_DOTS))
    for chart in (by_class, by_error):
        assert len([part for part in chart.iter("path") if part.find("title") is not None]) == MAX_DOTS
        assert not [part for part in chart.iter("path") if part.get("class") == "hexagon"]


def test_many_texts_are_hexagons_whose_tooltips_count_all_of_them() -> None:
    by_class, by_error = maps(random_points(MAX_DOTS + 1))
    truth, predicted = (served := evaluation(MAX_DOTS + 1, bare=True)).truth, served.predicted
    for chart, name, expected in (
        (by_class, "positive", int((truth == 1).sum())),
        (by_error, "wrong", int((truth != predicted).sum())),
    ):
        tooltips = [title.text or "" for title in chart.iter("title")]
        assert len(tooltips) < MAX_DOTS / 2
        assert sum(int(tooltip.split()[0]) for tooltip in tooltips) == MAX_DOTS + 1
        counts = [
            part.split()[0] for tooltip in tooltips for part in tooltip.split(": ")[1].split(", ") if name in part
        ]
        assert sum(map(int, counts)) == expected


def test_a_hexagon_without_errors_has_no_mark() -> None:
    served = evaluation(MAX_DOTS + 1, bare=True)
    points = random_points(MAX_DOTS + 1)
    _, by_error = text_maps(replace(served, truth=served.predicted), points)
    hexagons = [group for group in ElementTree.fromstring(str(by_error)).iter("g") if group.find("title") is not None]
    assert all(len(group.findall("path")) == 1 for group in hexagons)


def test_no_points_give_no_map() -> None:
    assert text_maps(evaluation(60, bare=True), []) == []


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=30))
def test_a_point_is_inside_the_hexagon_around_it(points: list[tuple[float, float]]) -> None:
    offsets = np.array(points) - hexagon_centres(np.array(points), radius=2.0)
    angles = np.deg2rad([0, 60, 120, 180, 240, 300])
    normals = np.stack([np.cos(angles), np.sin(angles)])
    assert (offsets @ normals).max() == pytest.approx(np.sqrt(3), abs=1e-6) or (offsets @ normals).max() < np.sqrt(3)
