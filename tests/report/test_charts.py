"""Charts: positions, labels and escaping."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from textgate.components.contracts import Estimate
from textgate.components.report.charts import (
    BarGroup,
    Line,
    ScatterPoint,
    bar_chart,
    downsample,
    histogram,
    interval_chart,
    line_chart,
    scatter_plot,
)
from textgate.components.report.svg import WIDTH, Axis, Caption, coordinate, element

UNIT = Axis("x", 0, 1)
NUMBERS = st.floats(-1e9, 1e9, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-6)


def drawing(figure: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(str(figure))


@settings(deadline=None, max_examples=50)
@given(st.lists(NUMBERS, min_size=1, max_size=5), st.booleans())
def test_an_axis_covers_its_values_and_has_a_few_round_ticks(values: list[float], log: bool) -> None:
    values = [abs(value) + 1e-6 for value in values] if log else values
    axis = Axis.fit("x", values, log=log)
    assert all(0 <= axis.fraction(value) <= 1 for value in values)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 8
    assert all(-1e-6 <= axis.fraction(tick) <= 1 + 1e-6 for tick in ticks)
    assert ticks == sorted(set(ticks))
    steps = [after - before for before, after in pairwise(ticks)]
    assert log or f"{steps[0]:.6e}"[0] in "125"
    assert log or steps == pytest.approx([steps[0]] * len(steps), rel=1e-3)


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        (Axis("", 0, 1), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Axis("", -0.12, 0.02), ["\u22120.10", "\u22120.05", "0"]),
        (Axis("", 0.5, 60, log=True), ["1", "3", "10", "30"]),
        (Axis("", 1.02, 1.31, log=True), ["1.05", "1.1", "1.15", "1.2", "1.25", "1.3"]),
        (Axis("", 1, 1e6, log=True), ["1", "100", "10,000", "1M"]),
    ],
)
def test_tick_labels_are_short(axis: Axis, labels: list[str]) -> None:
    assert [axis.tick_label(tick) for tick in axis.ticks()] == labels


def test_coordinates_are_finite_and_rounded() -> None:
    with pytest.raises(ValueError, match="nan is not a coordinate"):
        coordinate(math.nan)
    assert coordinate(-0.04) == "0"
    assert coordinate(12.34) == "12.3"


def test_content_and_attributes_of_an_element_are_escaped() -> None:
    svg = element("text", "<b>", Markup("<i>"), title='"&', stroke_width=1.0, class_="a", left_out=None)
    assert svg == '<text title="&#34;&amp;" stroke-width="1" class="a">&lt;b&gt;<i></text>'


def test_a_line_keeps_its_ends_when_downsampled_and_skips_points_that_are_not_finite() -> None:
    points = [(float(index), float(index)) for index in range(1_001)]
    kept = downsample([*points, (math.nan, 1.0), (1.0, math.inf)])
    assert len(kept) == 200
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    chart = drawing(
        line_chart(Caption("a", "title", "words"), [Line("l", [(0, 0), (1, 1)])], UNIT, UNIT, diagonal=True)
    )
    assert [part.get("d") for part in chart.iter("path")] == ["M44,214L352,24"]
    assert chart.get("id") == "a"
    svg = chart.find("svg")
    assert svg is not None
    assert (svg.get("role"), svg.get("aria-labelledby"), svg.get("aria-describedby")) == ("img", "a-title", "a-words")


def test_the_bars_of_a_histogram_are_proportional_to_the_counts() -> None:
    chart = drawing(histogram(Caption("h", "title", "words"), [0, 1, 2], [10, 5], "x", "texts"))
    first, second = [part for part in chart.iter("rect") if part.get("class") == "bar s0"]
    assert float(first.get("height", 0)) == pytest.approx(2 * float(second.get("height", 0)), abs=0.2)
    assert [title.text for title in chart.iter("title")] == ["0 to 1: 10 texts", "1 to 2: 5 texts"]


def test_bars_are_proportional_and_their_labels_stay_inside() -> None:
    chart = drawing(
        bar_chart(
            Caption("b", "title", "words"), [BarGroup("group", [(1.0, "25,000 (50.0 %)"), (0.5, "1")])], ["one", "two"]
        )
    )
    long, short = [float(part.get("width", 0)) for part in chart.iter("rect")]
    assert long == pytest.approx(2 * short)
    label = next(part for part in chart.iter("text") if part.text == "25,000 (50.0 %)")
    assert float(label.get("x", 0)) + 15 * 5.8 <= WIDTH


def test_intervals_are_drawn_relative_to_the_reference() -> None:
    rows = [
        ("typos", Estimate(value=-0.05, low=-0.07, high=-0.03)),
        ("case", Estimate(value=0.0, low=-0.01, high=0.01)),
    ]
    chart = drawing(interval_chart(Caption("i", "title", "words"), rows, "difference", 0))
    whiskers = [part for part in chart.iter("line") if "whisker" in part.get("class", "")]
    reference = next(part for part in chart.iter("line") if part.get("class") == "reference")
    assert float(whiskers[0].get("x2", 0)) < float(reference.get("x1", 0))
    assert float(whiskers[1].get("x1", 0)) < float(reference.get("x1", 0)) < float(whiskers[1].get("x2", 0))
    assert "\u22120.050" in "".join(chart.itertext())


def test_a_scatter_plot_connects_marked_points_and_its_labels_do_not_overlap() -> None:
    points = [
        ScatterPoint(f"a-system-{n}", 10.0**n, 0.8 + n / 100, marked=n != 1, y_low=0.7, y_high=0.9) for n in range(4)
    ]
    points.append(ScatterPoint("a-system-nearby", 1_100.0, 0.831))
    axis = Axis.fit("milliseconds", [point.x for point in points], log=True)
    chart = drawing(scatter_plot(Caption("s", "title", "words"), points, axis, Axis.fit("F1", [0.7, 0.9])))
    joined = next(part for part in chart.iter("path") if part.get("class") == "reference")
    assert joined.get("d", "").count("L") == 2
    circles = [part.get("class") for part in chart.iter("circle")]
    assert circles == ["marked", "unmarked", "marked", "marked", "unmarked"]
    labels = [part for part in chart.iter("text") if re.match(r"row (un)?marked", part.get("class", ""))]
    positions = [(float(part.get("x", 0)), float(part.get("y", 0)), 6.3 * len(part.text or "")) for part in labels]
    assert [part.text for part in labels] == [point.label for point in points]
    assert all(x >= 0 and x + width <= WIDTH for x, _, width in positions)
    for index, (x, y, width) in enumerate(positions):
        for other_x, other_y, other_width in positions[:index]:
            assert abs(y - other_y) >= 11 or x + width <= other_x or other_x + other_width <= x
