"""Both gates, rule by rule, and the page they leave."""

from pathlib import Path

import numpy as np
import pytest
from words import write_words

from textgate.components.contracts import (
    Evaluation,
    EvaluationManifest,
    Gate,
    GateDecision,
    InputError,
    LinearTraining,
    ModelBundle,
    Recipe,
    Rejected,
    Row,
    Source,
    TextNormalizer,
    dataset_writer,
)
from textgate.components.contracts.measurement import Measurement, Measurements, MergeResult, Speed
from textgate.components.gate.gate import gate_served_model, gate_trained_model
from textgate.components.gate.rules import Champion, Cost, judge_served, judge_trained
from textgate.components.metrics import accuracy_estimate, confusion, f1_estimate
from textgate.components.promote.promote import promote_bundle
from textgate.components.storage import Registry, Store

GATE = Gate(min_f1=0.8, margin=0.02)
RECIPE = Recipe(
    name="words",
    description="",
    model="model",
    source=Source(uri="words.csv"),
    train=LinearTraining(family="linear"),
    gate=GATE,
)
MEASURED = Measurements(served="onnx-int8", max_f1_loss=0.02, min_agreement=0.95, targets=[])
LABELS = ["bad", "good"]
ROWS = 1_000
TRUTH = np.arange(ROWS, dtype=np.int64) % 2


def wrong_at(*rows: range) -> np.ndarray:
    predicted = TRUTH.copy()
    for these in rows:
        predicted[list(these)] = 1 - predicted[list(these)]
    return predicted


def evaluation(predicted: np.ndarray, bundle: str = "new") -> Evaluation:
    manifest = EvaluationManifest(
        bundle=bundle,
        runtime="onnx",
        dataset="data",
        split="test",
        labels=LABELS,
        metrics={"f1": f1_estimate(TRUTH, predicted, 2), "accuracy": accuracy_estimate(TRUTH, predicted)},
        per_class={},
        confusion=confusion(TRUTH, predicted, 2).tolist(),
        calibration_error_before=0.1,
        rows_per_second=100.0,
    )
    probabilities = np.eye(2)[predicted] * 0.8 + 0.1
    texts = [f"<script>alert({number})</script>" for number in range(ROWS)]
    return Evaluation(manifest, [str(number) for number in range(ROWS)], texts, TRUTH, probabilities)


def champion(predicted: np.ndarray | None, bundle: str = "old", labels: list[str] = LABELS) -> Champion:
    return Champion("v1", bundle, labels, predicted)


def failed(decision: GateDecision) -> list[str]:
    return [rule.name for rule in decision.rules if not rule.passed]


def test_gate_1_holds_the_trained_model_to_the_threshold() -> None:
    assert judge_trained(evaluation(wrong_at(range(100))), GATE).passed
    decision = judge_trained(evaluation(wrong_at(range(300))), GATE)
    assert not decision.passed
    assert decision.message.startswith("reject: the trained model has F1 0.7000 [0.6")
    assert decision.message.endswith("on 1,000 test texts and does not reach the threshold 0.8")
    exactly = Gate(min_f1=judge_trained(evaluation(wrong_at(range(300))), GATE).rules[0].value.value)  # type: ignore[union-attr]
    assert judge_trained(evaluation(wrong_at(range(300))), exactly).passed


def test_gate_2_holds_the_served_model_to_the_threshold_and_to_the_trained_one() -> None:
    good, poor = wrong_at(range(100)), wrong_at(range(300))
    assert judge_served(evaluation(good), evaluation(good), MEASURED, None, GATE).passed
    assert failed(judge_served(evaluation(poor), evaluation(good), MEASURED, None, GATE)) == [
        *("min_f1", "min_agreement", "export_loss")
    ]
    a_little, more = (
        judge_served(evaluation(wrong_at(range(115))), evaluation(good), MEASURED, None, GATE),
        judge_served(evaluation(wrong_at(range(130))), evaluation(good), MEASURED, None, GATE),
    )
    assert failed(a_little) == []
    assert failed(more) == ["export_loss"]
    assert "its F1 differs from the trained model's by -0.0300 [-0.04" in more.message
    assert "it is lower by more than 0.02" in more.message
    elsewhere = wrong_at(range(900, 1000))
    assert failed(judge_served(evaluation(elsewhere), evaluation(good), MEASURED, None, GATE)) == ["min_agreement"]


def test_gate_2_holds_the_served_model_to_the_champion() -> None:
    new = evaluation(wrong_at(range(100)))
    assert judge_served(new, new, MEASURED, champion(wrong_at(range(150))), GATE).passed
    assert judge_served(new, new, MEASURED, champion(wrong_at(range(98))), GATE).passed
    worse = judge_served(new, new, MEASURED, champion(wrong_at(range(60))), GATE)
    assert failed(worse) == ["margin"]
    assert "the F1 differs from champion v1 by -0.0400 [-0.0" in worse.message
    assert "(paired bootstrap, 95 %): may be worse by more than 0.02" in worse.message
    assert worse.champion == "v1"


def test_a_recipe_may_ask_for_an_improvement_in_f1_speed_or_size() -> None:
    new, old = evaluation(wrong_at(range(100))), wrong_at(range(98))

    def judged(asked: list[str], cost: Cost, predicted: np.ndarray = old) -> GateDecision:
        gate = Gate.model_validate({"min_f1": 0.8, "margin": 0.02, "improvement": asked})
        held = champion(predicted)._replace(cost=Cost(1_000, 500.0))
        return judge_served(new, new, MEASURED, held, gate, cost)

    same = judged(["f1", "speed", "size"], Cost(1_000, 500.0))
    assert failed(same) == ["improvement"]
    assert "it is no improvement on the champion in f1 or speed or size" in same.message
    faster = judged(["f1", "speed", "size"], Cost(1_000, 750.0))
    assert faster.passed
    assert "against the champion, it answers 1.50 times as many texts a second" in faster.message
    assert failed(judged(["f1", "size"], Cost(1_000, 750.0))) == ["improvement"]
    assert "it takes 40% of the bytes" in judged(["size"], Cost(400)).message
    assert judged(["f1"], Cost(1_000), wrong_at(range(150))).passed
    # Faster at a worse F1 is none.
    assert failed(judged(["speed"], Cost(1_000, 750.0), wrong_at(range(60)))) == ["margin"]


def test_the_champion_itself_and_another_task_are_told_apart() -> None:
    new = evaluation(wrong_at(range(100)), bundle="same")
    again = judge_served(new, new, MEASURED, champion(None, bundle="same"), GATE)
    assert again.message == "reject: it is the champion already (version v1), so there is nothing to promote"
    other = judge_served(new, new, MEASURED, champion(None, labels=["spam", "ham"]), GATE)
    assert "the champion v1 answers spam, ham, not bad, good: give this model a name of its own" in other.message


def test_evaluations_of_different_texts_are_not_compared() -> None:
    new = evaluation(TRUTH)
    shifted = Evaluation(new.manifest, new.ids[::-1], new.texts, new.truth, new.probabilities)
    with pytest.raises(InputError, match="were evaluated on different texts"):
        judge_served(new, shifted, MEASURED, None, GATE)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    with dataset_writer(tmp_path / "dataset", ["train", "validation", "test"]) as writer:
        for number in range(6):
            writer.add(
                ["train", "validation", "test"][number % 3], Row(str(number), f"text {number}", LABELS[number % 2])
            )
        writer.reject(Rejected("9", "duplicate", "bad", "text"))
        writer.finish("<source>", LABELS, normalizer=TextNormalizer())
    return tmp_path / "dataset"


def test_gate_1_leaves_its_decision_and_a_page(dataset: Path, tmp_path: Path) -> None:
    evaluation(wrong_at(range(300))).write(tmp_path / "evaluation")
    files = (tmp_path / "decision", tmp_path / "page.html")
    decision = gate_trained_model(dataset, tmp_path / "evaluation", RECIPE, *files)
    assert GateDecision.parse(files[0].read_text(), "here") == decision
    assert "the trained model has F1 0.7000" in files[1].read_text("utf-8")


def test_a_worse_candidate_is_held_against_the_champions_own_answers(
    dataset: Path, tmp_path: Path, store: Store
) -> None:
    """The champion is read from the registry and answers the same texts by the runtime that serves it."""
    registry = Registry(store)
    perfect = write_words(tmp_path / "champion", weight=5.0)
    texts = [f"it is {LABELS[number]}" for number in TRUTH]
    first = judge_served(evaluation(TRUTH), evaluation(TRUTH), MEASURED, None, GATE)
    judged = first.model_copy(update={"bundle": ModelBundle.load(perfect).fingerprint})
    version = promote_bundle(registry, "model", perfect, judged, "run-1").version

    poor = evaluation(wrong_at(range(100)))
    Evaluation(poor.manifest, poor.ids, texts, poor.truth, poor.probabilities).write(tmp_path / "evaluation")
    estimate = poor.manifest.f1
    measurement = Measurement(
        target="onnx-int8",
        bytes=1_500_000,
        parity=0.01,
        agreement=1,
        f1=estimate,
        f1_difference=estimate,
        speeds=[Speed(batch=8, tokens=64, milliseconds=4)],
        peak_memory=10**8,
        refused="it loses too much",
    )
    MEASURED.model_copy(update={"targets": [measurement]}).write(tmp_path / "measurements")
    change = MergeResult(
        agreement=0.9985, logit_difference=0.01, f1_before=estimate, f1_after=estimate, f1_difference=estimate
    )
    (tmp_path / "merge").write_text(change.model_dump_json())
    decision = gate_served_model(
        dataset,
        tmp_path / "evaluation",
        tmp_path / "evaluation",
        tmp_path / "merge",
        tmp_path / "measurements",
        perfect,
        registry,
        RECIPE,
        tmp_path / "decision",
        tmp_path / "page.html",
        tmp_path / "card.md",
    )
    assert decision.champion == version
    assert failed(decision) == ["margin"]
    assert "by -0.1000" in decision.message
    page = (tmp_path / "page.html").read_text("utf-8")
    assert 'onnx-int8</th><td class="n">1.5 MB</td><td class="n">2,000</td><td class="n">100 MB</td>' in page
    assert "changed the answers to 0.15 % of the test texts and the logits by 0.0100 on average" in page


def test_only_what_gate_2_judged_is_promoted(tmp_path: Path, store: Store) -> None:
    registry = Registry(store)
    bundle = write_words(tmp_path / "bundle", weight=5.0)
    good, poor = evaluation(TRUTH), evaluation(wrong_at(range(500)))
    passed = judge_served(good, good, MEASURED, None, GATE)
    with pytest.raises(InputError, match="gate 2 judged the bundle new, not"):
        promote_bundle(registry, "model", bundle, passed, "run")
    with pytest.raises(InputError, match="only what gate 2 lets pass is promoted"):
        promote_bundle(registry, "model", bundle, judge_served(poor, poor, MEASURED, None, GATE), "run")
    with pytest.raises(InputError, match="only what gate 2 lets pass is promoted"):
        promote_bundle(registry, "model", bundle, judge_trained(good, GATE), "run")
    assert list(store.objects("")) == []

    judged = passed.model_copy(update={"bundle": ModelBundle.load(bundle).fingerprint})
    promoted = promote_bundle(registry, "model", bundle, judged, "run-1")
    # A step that is tried again finds its work done; another run of the same decision comes too late.
    assert promote_bundle(registry, "model", bundle, judged, "run-1") == promoted
    assert len(registry.history("model")) == 1
    with pytest.raises(InputError, match="has been moved by another run since it was compared"):
        promote_bundle(registry, "model", bundle, judged, "run-2")
    other = write_words(tmp_path / "other", weight=6.0)
    stale = judged.model_copy(update={"bundle": ModelBundle.load(other).fingerprint})
    with pytest.raises(InputError, match="has been moved by another run since it was compared"):
        promote_bundle(registry, "model", other, stale, "run-2")
