"""HTML page of a comparison."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from textgate.components.compare.ranking import LEVEL
from textgate.components.contracts import Recipe
from textgate.components.contracts.comparison import Comparison, SystemMetrics
from textgate.components.report.charts import Labelled, scatter
from textgate.components.report.page import Part, write_page
from textgate.components.report.svg import Axis

_PARTS = [
    Part("systems", "Systems", "systems.html"),
    Part("costs", "F1 against cost", "costs.html"),
    Part("differences", "Differences", "differences.html"),
    Part("about", "About this comparison", "about.html"),
]


def write_comparison_page(path: Path, comparison: Comparison, recipes: Sequence[Recipe]) -> None:
    """Write the page of ``comparison`` to ``path``; ``recipes`` are the compared recipes."""
    metrics = {system.recipe: system.metrics for system in comparison.systems if system.metrics}
    write_page(
        path,
        "textgate.components.compare",
        title=f"{comparison.winner or 'no winner'}: comparison of {len(comparison.systems)} systems",
        top="winner.html",
        parts=[part for part in _PARTS if metrics or part.name not in ("costs", "differences")],
        comparison=comparison,
        won=metrics.get(comparison.winner or ""),
        recipes={recipe.name: recipe for recipe in recipes},
        source=recipes[0].source,
        level=LEVEL,
        plots=_plots(metrics) if metrics else [],
    )


def _plots(metrics: dict[str, SystemMetrics]) -> list[Markup]:
    found = metrics.values()
    latency = _CostAxis("latency", "latency", "milliseconds a text", [m.latency_ms for m in found])
    training = _CostAxis("training", "training cost", "seconds of training", [m.training.seconds for m in found])
    return [
        _plot(metrics, latency, [m.on_latency_front for m in found]),
        _plot(metrics, training, [m.on_training_front for m in found]),
    ]


class _CostAxis(NamedTuple):
    """Cost axis of a plot."""

    figure: str
    """Id of the figure."""
    name: str
    unit: str
    costs: list[float]


def _plot(metrics: dict[str, SystemMetrics], cost: _CostAxis, on_front: Sequence[bool]) -> Markup:
    """Draw F1 against a cost, with the Pareto front."""
    front = [system for system, marked in zip(metrics, on_front, strict=True) if marked]
    points = [
        Labelled(system, x, found.f1.value, marked, found.f1.low, found.f1.high)
        for (system, found), x, marked in zip(metrics.items(), cost.costs, on_front, strict=True)
    ]
    interval_ends = [end for found in metrics.values() for end in (found.f1.low, found.f1.high)]
    caption = f"The Pareto front: no other system has a higher F1 at a lower cost than {' or '.join(front)}."
    return scatter(
        cost.figure,
        f"F1 against {cost.name}",
        caption,
        points,
        Axis.over(cost.unit, cost.costs, log=True),
        Axis.over("F1, 95 % interval", interval_ends),
    )
