"""Ranking of systems: significance of their differences, Pareto fronts of F1 and cost, and the winner."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from textgate.components.contracts import Evaluation, InputError, TrainingCost
from textgate.components.contracts.comparison import ComparedSystem, CostLimits, SystemMetrics, SystemPair
from textgate.components.metrics import holm, paired_test

LEVEL = 0.05
"""Significance level."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_NOTICEABLE_RATIO = 1.1
"""Smallest ratio of costs that is mentioned."""


def compare_pairs(evaluations: Mapping[str, Evaluation]) -> list[SystemPair]:
    """Test each pair of systems on the same texts; p-values are corrected for the number of pairs (Holm).

    Args:
        evaluations: Name of each system to its evaluation.

    Raises:
        InputError: The systems were evaluated on different texts.
    """
    names = list(combinations(evaluations, 2))
    tests = []
    for first, second in names:
        a, b = evaluations[first], evaluations[second]
        if a.ids != b.ids or a.manifest.dataset != b.manifest.dataset:
            raise InputError(f"{first} and {second} were evaluated on different texts: evaluate both on one dataset")
        tests.append(paired_test(a.truth, a.predicted, b.predicted, len(a.manifest.labels)))
    corrected = holm([test.p_value for test in tests])
    return [
        SystemPair(
            first=first,
            second=second,
            f1_difference=test.f1_difference,
            p_value=test.p_value,
            p_holm=p_holm,
            significant=p_holm <= LEVEL,
        )
        for (first, second), test, p_holm in zip(names, tests, corrected, strict=True)
    ]


def letter_display(names: Sequence[str], pairs: Sequence[SystemPair]) -> dict[str, str]:
    """Return a compact letter display: two systems share a letter if and only if they do not differ significantly.

    Piepho, An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons (Journal of Computational and
    Graphical Statistics 13, 2004).

    Args:
        names: Names of the systems in the order in which letters are assigned.
        pairs: Results of all pairs.
    """
    groups = [set(names)]
    for pair in pairs:
        if not pair.significant:
            continue
        split = [
            half
            for group in groups
            for half in (
                [group - {pair.first}, group - {pair.second}] if {pair.first, pair.second} <= group else [group]
            )
        ]
        groups = []
        for group in sorted(split, key=len, reverse=True):
            if not any(group <= larger for larger in groups):
                groups.append(group)
    groups.sort(key=lambda group: [name not in group for name in names])
    letters = [_ALPHABET[index % 26] + "'" * (index // 26) for index in range(len(groups))]
    return {
        name: "".join(letter for letter, group in zip(letters, groups, strict=True) if name in group) for name in names
    }


def pareto_front(scores: Sequence[float], costs: Sequence[float]) -> list[bool]:
    """Return for each point whether it is on the Pareto front: no other has a score as high at a cost as low."""
    points = list(zip(scores, costs, strict=True))
    return [
        not any(
            other_score >= score and other_cost <= cost and (other_score, other_cost) != (score, cost)
            for other_score, other_cost in points
        )
        for score, cost in points
    ]


class Outcome(NamedTuple):
    """Result of a comparison."""

    winner: str | None
    """System with the highest F1 on the validation split within the limits; None if there is none."""
    as_good: list[str]
    """Other systems within the limits that are not significantly worse."""
    message: str
    """The result and its reason as a sentence."""


def choose_winner(systems: Sequence[ComparedSystem], pairs: Sequence[SystemPair], limits: CostLimits) -> Outcome:
    """Choose the system with the highest F1 on the validation split within the cost limits.

    Args:
        systems: Systems by descending F1 on the validation split.
        pairs: Results of all pairs.
        limits: Cost limits of the winner.
    """
    metrics = {system.recipe: system.metrics for system in systems if system.metrics}
    if not metrics:
        return Outcome(None, [], "nothing won: every system failed")
    within = [name for name, found in metrics.items() if found.within_limits]
    if not within:
        count = "no system is" if len(metrics) > 1 else "the only system that did not fail is not"
        return Outcome(None, [], f"nothing won: {count} within {_format_limits(limits)}")
    winner = within[0]
    pair_with = {pair.second: pair for pair in pairs if pair.first == winner}
    as_good = [name for name in within[1:] if not pair_with[name].significant]
    limited = limits != CostLimits()
    scope = f" of the {len(within)} systems within {_format_limits(limits)}" if limited else ""
    message = f"{winner} wins: it has the highest F1 on the validation split{scope}, {metrics[winner].choice_f1}"
    if as_good:
        others = [
            f"{name} ({_savings(metrics[name], metrics[winner])}p {pair_with[name].p_holm:.2g})" for name in as_good
        ]
        return Outcome(winner, as_good, f"{message}; not significantly worse: {', '.join(others)}")
    if len(within) > 1:
        message += f", and is significantly better than all others{' there' if limited else ''}"
    return Outcome(winner, [], message)


def _format_limits(limits: CostLimits) -> str:
    latency = [f"{limits.max_latency_ms:g} ms a text"] if limits.max_latency_ms is not None else []
    size = [f"{limits.max_size_mb:g} MB"] if limits.max_size_mb is not None else []
    return " and ".join([*latency, *size])


def comparable_seconds(cost: TrainingCost) -> float:
    """Return the training time with that of an ensemble's members; infinite if that of a member is unknown."""
    return math.inf if cost.unknown_members else cost.total_seconds


def _savings(system: SystemMetrics, winner: SystemMetrics) -> str:
    """Return by how much a system is faster, smaller or trained faster than the winner, each with a comma behind it."""
    ratios = [
        ("answers", winner.latency_ms / system.latency_ms, "times as fast"),
        ("is", winner.bytes / system.bytes, "times smaller"),
        ("trains", winner.training.total_seconds / comparable_seconds(system.training), "times as fast"),
    ]
    return "".join(f"{verb} {ratio:.1f} {unit}, " for verb, ratio, unit in ratios if ratio >= _NOTICEABLE_RATIO)
