"""Models of a rare class: judged at its natural prevalence, and against constant answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate.reviews import Line, fresh_f1, predicted_f1, reviews, write
from gate.run_steps import recipe, run

from textgate.components.contracts import Dataset, Evaluation
from textgate.components.storage import Registry, Store

LINEAR = {"family": "linear", "ngrams": [1, 1], "min_df": 1, "C": 10}


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    """760 legitimate and 40 fraudulent mails of the same words, like ``fraud.csv``: nothing can be learned."""
    words, rng = (
        ["order", "refund", "card", "box", "late", "bank", "pay", "ship", "mail", "code"],
        np.random.default_rng(3),
    )
    lines = (
        {"text": f"{' '.join(rng.choice(words, 6))} n{index}", "label": "fraud" if index % 20 == 0 else "legit"}
        for index in range(800)
    )
    return write(tmp_path / "mails.jsonl", lines)


@pytest.mark.parametrize(
    ("positive", "sections", "gate"),
    [
        pytest.param("legit", {}, {"min_f1": 0.8}, id="the positive class is the frequent one"),
        pytest.param("fraud", {"preprocess": {"positive": "fraud"}}, {"min": {"accuracy": 0.8}}, id="the rare one"),
    ],
)
def test_a_model_that_finds_no_fraud_is_rejected_in_one_sentence(
    positive: str, sections: dict[str, Any], gate: dict[str, Any], mails: Path, store: Store, tmp_path: Path
) -> None:
    decision = run(recipe(mails, train=LINEAR, gate=gate, **sections), tmp_path / "run", store)
    assert decision.gate == "trained"
    counts = Dataset.open(tmp_path / "run" / "dataset").manifest.counts["test"]
    legit, fraud = counts["legit"], counts["fraud"]
    constant = 2 * counts[positive] / (legit + fraud + counts[positive])
    value = f"{2 * legit / (2 * legit + fraud) if positive == 'legit' else 0:.4f}"
    (rule,) = (rule for rule in decision.rules if not rule.passed)
    assert decision.message == f"reject: {rule.message}"
    assert rule.message.startswith(
        f"the trained model is no better than always answering '{positive}': F1 of '{positive}' is {value} ["
    )
    assert rule.message.endswith(
        f"] on {legit + fraud} test texts, and this interval does not lie above the {constant:.4f} of the constant "
        "answer"
    )
    assert Registry(store).channel("proof") is None


THRESHOLD = 4.4
"""Threshold of the reviews at which 10 % are ``good``."""


def balanced(lines: list[Line]) -> list[Line]:
    """Return all good reviews and as many bad ones."""
    good = [line for line in lines if line["label"] == "good"]
    return [*good, *[line for line in lines if line["label"] == "bad"][: len(good)]]


def test_a_balanced_training_split_is_judged_at_the_natural_prevalence(store: Store, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", reviews(0, 6_000, THRESHOLD))
    gate = {"min_f1": 0.2}
    run(recipe(data, preprocess={"balance": True}, train=LINEAR, gate=gate), tmp_path / "run", store)
    manifest = Dataset.open(tmp_path / "run" / "dataset").manifest
    assert manifest.counts["train"]["good"] == manifest.counts["train"]["bad"]
    for split in ("validation", "test"):
        counts = manifest.counts[split]
        assert counts["good"] / sum(counts.values()) == pytest.approx(0.1, abs=0.025)
    for name in ("trained", "served"):
        f1 = Evaluation.open(tmp_path / "run" / f"evaluation-{name}").manifest.f1
        assert f1.low < fresh_f1(tmp_path / "run" / "served", THRESHOLD) < f1.high
    on_balanced = predicted_f1(tmp_path / "run" / "served", balanced(reviews(10_000, 13_000, THRESHOLD)))
    assert on_balanced > f1.high + 0.2
