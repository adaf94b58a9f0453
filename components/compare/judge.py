"""Which of several systems differ, which are worth their cost, and which one wins."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from textgate.components.contracts import Evaluation, InputError
from textgate.components.contracts.comparison import ComparedSystem, CostLimits, SystemMetrics, SystemPair
from textgate.components.metrics import holm, paired_test

LEVEL = 0.05
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def compare_pairs(answers: Mapping[str, Evaluation]) -> list[SystemPair]:
    """Test each system with each of those after it, on the same texts, corrected for the number of tests (Holm).

    Raises:
        InputError: they were not evaluated on the same texts.
    """
    named = list(combinations(answers, 2))
    tests = []
    for first, second in named:
        ours, theirs = answers[first], answers[second]
        if ours.ids != theirs.ids or ours.manifest.dataset != theirs.manifest.dataset:
            raise InputError(f"{first} and {second} were evaluated on different texts: evaluate both on one dataset")
        tests.append(paired_test(ours.truth, ours.predicted, theirs.predicted, len(ours.manifest.labels)))
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
        for (first, second), test, p_holm in zip(named, tests, corrected, strict=True)
    ]


def letters(names: Sequence[str], pairs: Sequence[SystemPair]) -> dict[str, str]:
    """A compact letter display: two names share a letter if and only if they do not differ significantly.

    ``names`` are in the order in which letters are given out. Piepho, An Algorithm for a Letter-Based Representation of
    All-Pairwise Comparisons (Journal of Computational and Graphical Statistics 13, 2004).
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
    signs = [_ALPHABET[number % 26] + "'" * (number // 26) for number in range(len(groups))]
    return {name: "".join(sign for sign, group in zip(signs, groups, strict=True) if name in group) for name in names}


def on_front(scores: Sequence[float], costs: Sequence[float]) -> list[bool]:
    """Whether each is on the Pareto front: no other has as high a score at as low a cost, and is better in one."""
    points = list(zip(scores, costs, strict=True))
    return [
        not any(other >= score and less <= cost and (other, less) != (score, cost) for other, less in points)
        for score, cost in points
    ]


def choose(
    systems: Sequence[ComparedSystem], pairs: Sequence[SystemPair], limits: CostLimits
) -> tuple[str | None, list[str], str]:
    """The highest F1 within the limits, the others there that are not significantly worse, and the decision in words.

    ``systems`` are ordered by F1, the highest first.
    """
    ran = {system.recipe: system.metrics for system in systems if system.metrics}
    if not ran:
        return None, [], "nothing won: every system failed"
    within = [name for name, measured in ran.items() if measured.within_limits]
    if not within:
        count = "no system is" if len(ran) > 1 else "the only system that did not fail is not"
        return None, [], f"nothing won: {count} within {_asked(limits)}"
    winner = within[0]
    apart = {pair.second: pair for pair in pairs if pair.first == winner}
    as_good = [name for name in within[1:] if not apart[name].significant]
    of_those = f" of the {len(within)} systems within {_asked(limits)}" if limits != CostLimits() else ""
    words = f"{winner} wins: it has the highest F1{of_those}, {ran[winner].f1}"
    if as_good:
        told = (f"{name} ({_cheaper(ran[name], ran[winner])}p {apart[name].p_holm:.2g})" for name in as_good)
        return winner, as_good, f"{words}; not significantly worse: {', '.join(told)}"
    if len(within) > 1:
        return winner, [], f"{words}, and is significantly better than all others{' there' if of_those else ''}"
    return winner, [], words


def _asked(limits: CostLimits) -> str:
    latency = [f"{limits.max_latency_ms:g} ms a text"] if limits.max_latency_ms is not None else []
    size = [f"{limits.max_size_mb:g} MB"] if limits.max_size_mb is not None else []
    return " and ".join([*latency, *size])


def _cheaper(other: SystemMetrics, winner: SystemMetrics) -> str:
    """In what a system is noticeably cheaper than the winner, with a comma after it."""
    costs = [
        ("answers", winner.latency_ms / other.latency_ms, "times as fast"),
        ("is", winner.bytes / other.bytes, "times smaller"),
        ("trains", winner.training.seconds / other.training.seconds, "times as fast"),
    ]
    return "".join(f"{verb} {ratio:.1f} {what}, " for verb, ratio, what in costs if ratio >= 1.1)
