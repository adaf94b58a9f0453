"""Comparison of the served model with the champion: which texts count, the margin and its power, improvements."""

import numpy as np
import pytest
from gate.evaluations import MEASURED, TRUTH, champion, complete, evaluation, failed, wrong_at

from textgate.components.contracts import Gate, GateDecision
from textgate.components.gate.champion_rules import Champion, ServingCost
from textgate.components.gate.rules import judge_served

GATE = Gate(min_f1=0.8, margin=0.02)
NEW = evaluation(wrong_at(range(100)))


def judged(current: Champion, gate: Gate = GATE, **arguments: ServingCost) -> GateDecision:
    return judge_served(NEW, NEW, MEASURED, current, gate, **arguments)


def unseen(*rows: range) -> np.ndarray:
    mask = np.zeros(len(TRUTH), dtype=bool)
    for indices in rows:
        mask[list(indices)] = True
    return mask


def test_gate_2_compares_the_served_model_with_the_champion() -> None:
    assert judged(champion(wrong_at(range(150)))).passed
    assert judged(champion(wrong_at(range(98)))).passed
    worse = judged(champion(wrong_at(range(60))))
    assert failed(worse) == ["margin"]
    assert "the F1 of 'good' differs from champion v1 by -0.0400 [-0.0" in worse.message
    assert "(paired, 95 %): may be worse by more than 0.02, judged on 1,000 test texts, of which" in worse.message
    assert "it is unknown whether champion v1 was trained on them" in worse.message
    assert worse.champion == "v1"


def test_only_texts_on_which_neither_model_was_trained_are_compared() -> None:
    """The champion knows half of the test texts by heart; on the others it is worse."""
    current = champion(wrong_at(range(500, 600)))._replace(unseen=unseen(range(500, 1_000)))
    knows = champion(wrong_at(range(500, 560)))
    assert failed(judged(knows)) == ["margin"]
    decision = judged(knows._replace(unseen=unseen(range(500, 1_000))))
    assert decision.passed
    assert "judged on 500 of 1,000 test texts, on which neither was trained" in decision.message
    assert judged(current).rules[-1].value.value > 0.1  # type: ignore[union-attr]


def test_too_few_unseen_texts_are_no_comparison() -> None:
    decision = judged(champion(wrong_at(range(150)))._replace(unseen=unseen(range(19))))
    assert decision.message == (
        "reject: neither this model nor champion v1 was trained on 19 of 1,000 test texts, which are too few to "
        "compare them on: gate.min_test_rows is 20"
    )
    assert judged(champion(wrong_at(range(150)))._replace(unseen=unseen(range(20)))).rules[-1].value is not None


def test_pr_auc_is_not_compared_on_texts_of_one_label() -> None:
    new = complete(NEW)
    current = champion(TRUTH)._replace(probabilities=np.eye(2)[TRUTH], unseen=unseen(range(0, 100, 2)))
    decision = judge_served(new, new, MEASURED, current, Gate(metric="pr_auc", min_f1=0.8))
    assert failed(decision) == ["margin"]
    assert "on 50 of 1,000 test texts, which have no text of some label, so that PR-AUC cannot" in decision.message


def test_few_texts_reject_a_model_whose_difference_they_cannot_tell_and_the_decision_says_so() -> None:
    few = judged(champion(wrong_at(range(0, 100, 2), range(900, 950)))._replace(unseen=unseen(range(50, 100))))
    assert failed(few) == ["margin"]
    assert "judged on 50 of 1,000 test texts" in few.message
    margin = float(few.message.split("from a margin of ")[1].split(" on")[0])
    assert margin > 0.1


def test_an_equally_good_model_passes_in_80_percent_of_the_cases_at_the_stated_margin() -> None:
    """Both models are wrong on 15 % of 600 texts, independently of each other."""
    rng, rows, runs = np.random.default_rng(5), 600, 150
    truth = np.arange(rows, dtype=np.int64) % 2

    def compare(margin: float) -> tuple[bool, float]:
        new, old = (np.where(rng.random(rows) < 0.15, 1 - truth, truth) for _ in range(2))
        model = evaluation(new, truth=truth)
        decision = judge_served(model, model, MEASURED, champion(old), Gate(min_f1=0, margin=margin))
        rule = decision.rules[-1]
        return rule.passed, float(rule.message.split("from a margin of ")[1].split(" on")[0])

    stated = float(np.median([compare(0.02)[1] for _ in range(20)]))
    passed = sum(compare(stated)[0] for _ in range(runs)) / runs
    assert passed == pytest.approx(0.8, abs=0.1)


def test_the_champion_is_compared_in_the_metric_of_the_gate() -> None:
    # The same F1 of "good" as the champion, more "bad" texts found than by it.
    new = complete(evaluation(wrong_at(range(0, 200, 2))))
    old = wrong_at(range(1, 181, 2))
    for metric, title in (("accuracy", "accuracy"), ("mcc", "Matthews correlation"), ("macro_f1", "macro F1")):
        gate = Gate.model_validate({"metric": metric, "min_f1": 0, "margin": 0.05})
        decision = judge_served(new, new, MEASURED, champion(old), gate)
        assert f"the {title} differs from champion v1 by -0.0" in decision.message
    accuracy = judge_served(new, new, MEASURED, champion(old), Gate(metric="accuracy", min_f1=0)).rules[-1].value
    assert accuracy is not None
    assert accuracy.value == pytest.approx(-0.01)
    gate = Gate(metric="pr_auc", min_f1=0, margin=0.05)
    perfect = champion(TRUTH)._replace(probabilities=np.eye(2)[TRUTH] * 0.8 + 0.1)
    decision = judge_served(new, new, MEASURED, perfect, gate)
    assert failed(decision) == ["margin"]
    assert "the PR-AUC of 'good' differs from champion v1 by -0." in decision.message


def test_a_recipe_can_require_an_improvement_in_f1_speed_or_size() -> None:
    def improved(improvement: list[str], cost: ServingCost, predicted: np.ndarray) -> GateDecision:
        gate = Gate.model_validate({"min_f1": 0.8, "margin": 0.02, "improvement": improvement})
        return judged(champion(predicted)._replace(cost=ServingCost(1_000, 500.0)), gate, cost=cost)

    old = wrong_at(range(98))
    same = improved(["f1", "speed", "size"], ServingCost(1_000, 500.0), old)
    assert failed(same) == ["improvement"]
    assert "it is no improvement on the champion in f1 or speed or size" in same.message
    faster = improved(["f1", "speed", "size"], ServingCost(1_000, 750.0), old)
    assert faster.passed
    assert "against the champion, it answers 1.50 times as many texts a second" in faster.message
    assert failed(improved(["f1", "size"], ServingCost(1_000, 750.0), old)) == ["improvement"]
    assert "it takes 40% of the bytes" in improved(["size"], ServingCost(400), old).message
    better = improved(["f1"], ServingCost(1_000), wrong_at(range(150)))
    assert better.passed
    assert "its F1 of 'good' is higher" in better.message
    # A faster model with a worse F1 is rejected.
    assert failed(improved(["speed"], ServingCost(1_000, 750.0), wrong_at(range(60)))) == ["margin"]


def test_an_improvement_in_f1_must_be_clearer_the_more_often_the_texts_were_used() -> None:
    gate = Gate(min_f1=0.5, margin=0.02, improvement=["f1"])
    current = champion(wrong_at(range(240)))._replace(cost=ServingCost(1))

    def with_errors(wrong: int, uses: float) -> GateDecision:
        new = evaluation(wrong_at(range(wrong)))
        return judge_served(new, new, MEASURED, current, gate, ServingCost(1), uses=uses)

    assert with_errors(228, 1).passed
    assert failed(with_errors(228, 50)) == ["improvement"]
    clear = with_errors(200, 50)
    assert clear.passed
    assert "its F1 of 'good' is higher (p < 9.8e-06, for the uses of these test texts so far)" in clear.message


def test_the_champion_itself_is_nothing_to_promote_and_no_rejection() -> None:
    again = judged(champion(None, bundle="new"))
    assert again.message == "unchanged: it is the champion already (version v1), so there is nothing to promote"
    assert (again.passed, again.unchanged, again.verdict) == (False, True, "unchanged")
    # A threshold that the champion no longer reaches is a reason to reject it.
    strict = judged(champion(None, bundle="new"), Gate(min_f1=0.95))
    assert (strict.unchanged, strict.verdict) == (False, "reject")


def test_a_model_with_other_labels_than_the_champion_is_rejected() -> None:
    other = judged(champion(None, labels=["spam", "ham"]))
    assert failed(other) == ["same_labels"]
    assert "the champion v1 answers spam, ham, not bad, good: give this model a name of its own" in other.message
