"""A comparison as a page."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from textgate.components.compare.judge import LEVEL
from textgate.components.contracts import Recipe
from textgate.components.contracts.comparison import Comparison, SystemMetrics
from textgate.components.report.charts import Labelled, scatter
from textgate.components.report.page import Part, write_page
from textgate.components.report.svg import Axis

_PARTS = [
    Part("systems", "Systems", "systems.html"),
    Part("costs", "F1 against what it costs", "costs.html"),
    Part("differences", "Differences", "differences.html"),
    Part("about", "What was compared", "about.html"),
]


def write_comparison(path: Path, comparison: Comparison, recipes: Sequence[Recipe]) -> None:
    """Write the page to ``path``; ``recipes`` are those that were compared."""
    ran = {system.recipe: system.metrics for system in comparison.systems if system.metrics}
    write_page(
        path,
        "textgate.components.compare",
        title=f"{comparison.winner or 'no winner'}: comparison of {len(comparison.systems)} systems",
        top="winner.html",
        parts=[part for part in _PARTS if ran or part.name not in ("costs", "differences")],
        comparison=comparison,
        won=ran.get(comparison.winner or ""),
        recipes={recipe.name: recipe for recipe in recipes},
        source=recipes[0].source,
        level=LEVEL,
        plots=_plots(ran) if ran else [],
    )


def _plots(ran: dict[str, SystemMetrics]) -> list[Markup]:
    return [
        _plot("latency", "latency", ran, [m.latency_ms for m in ran.values()], "milliseconds a text"),
        _plot("training", "training cost", ran, [m.training.seconds for m in ran.values()], "seconds of training"),
    ]


def _plot(name: str, cost: str, ran: dict[str, SystemMetrics], costs: Sequence[float], unit: str) -> Markup:
    front = {
        "latency": [m.on_latency_front for m in ran.values()],
        "training": [m.on_training_front for m in ran.values()],
    }
    marked = [system for system, on_front in zip(ran, front[name], strict=True) if on_front]
    points = [
        Labelled(system, x, measured.f1.value, on_front, measured.f1.low, measured.f1.high)
        for (system, measured), x, on_front in zip(ran.items(), costs, front[name], strict=True)
    ]
    ends = [end for measured in ran.values() for end in (measured.f1.low, measured.f1.high)]
    words = f"The Pareto front: no other system has a higher F1 at a lower cost than {' or '.join(marked)}."
    return scatter(
        name,
        f"F1 against {cost}",
        words,
        points,
        Axis.over(unit, costs, log=True),
        Axis.over("F1, 95 % interval", ends),
    )
