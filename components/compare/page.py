"""HTML page of a comparison."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from textgate.components.compare.ranking import LEVEL
from textgate.components.contracts import Recipe
from textgate.components.contracts.comparison import Comparison, SystemMetrics
from textgate.components.report.charts import ScatterPoint, scatter_plot
from textgate.components.report.page import PageLayout, PageSection, write_page
from textgate.components.report.svg import Axis, Caption

_SECTIONS = [
    PageSection("systems", "Systems", "systems.html"),
    PageSection("costs", "F1 against cost", "costs.html"),
    PageSection("differences", "Differences", "differences.html"),
    PageSection("about", "About this comparison", "about.html"),
]


def write_comparison_page(path: Path, comparison: Comparison, recipes: Sequence[Recipe]) -> None:
    """Write the page of ``comparison`` to ``path``; ``recipes`` are the compared recipes."""
    metrics = {system.recipe: system.metrics for system in comparison.systems if system.metrics}
    sections = [section for section in _SECTIONS if metrics or section.id not in ("costs", "differences")]
    title = f"{comparison.winner or 'no winner'}: comparison of {len(comparison.systems)} systems"
    write_page(
        path,
        PageLayout(title, "winner.html", sections, package="textgate.components.compare"),
        comparison=comparison,
        winner=metrics.get(comparison.winner or ""),
        recipes={recipe.name: recipe for recipe in recipes},
        source=recipes[0].source,
        level=LEVEL,
        plots=_plots(metrics) if metrics else [],
    )


def _plots(metrics: dict[str, SystemMetrics]) -> list[Markup]:
    systems = metrics.values()
    latency = _CostAxis("latency", "latency", "milliseconds per text", [m.latency_ms for m in systems])
    seconds = [m.training.total_seconds for m in systems]
    training = _CostAxis("training", "training time", "seconds of training", seconds)
    return [
        _plot(metrics, latency, [m.on_latency_front for m in systems]),
        _plot(metrics, training, [m.on_training_front for m in systems]),
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
    scores = {system: measured.choice_f1 for system, measured in metrics.items()}
    front = [system for system, marked in zip(metrics, on_front, strict=True) if marked]
    points = [
        ScatterPoint(system, x, score.value, marked, score.low, score.high)
        for (system, score), x, marked in zip(scores.items(), cost.costs, on_front, strict=True)
    ]
    interval_ends = [end for score in scores.values() for end in (score.low, score.high)]
    text = f"On the Pareto front: {', '.join(front)}. No system has a higher F1 than these at a lower cost."
    return scatter_plot(
        Caption(cost.figure, f"F1 against {cost.name}", text),
        points,
        Axis.fit(cost.unit, cost.costs, log=True),
        Axis.fit("validation F1, 95 % interval", interval_ends),
    )
