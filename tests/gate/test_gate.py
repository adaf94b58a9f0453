"""Rules of both gates, and the report they write."""

import re
from pathlib import Path

import numpy as np
import pytest
from gate.evaluations import LABELS, MEASURED, TRUTH, evaluation, failed, wrong_at
from inference.hostile_bundles import FAULTS, HOSTILE
from words import write_words

from textgate.components.contracts import (
    Evaluation,
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
    TransformersRuntime,
    dataset_writer,
)
from textgate.components.contracts.measurement import Measurement, MergeResult, Speed
from textgate.components.contracts.recipe.gate import Endpoint
from textgate.components.gate.endpoint import endpoint_rule
from textgate.components.gate.gate import (
    ServedModelInputs,
    ServedModelOutputs,
    gate_served_model,
    gate_trained_model,
)
from textgate.components.gate.rollback import reject_rolled_back
from textgate.components.gate.rules import judge_served, judge_trained
from textgate.components.promote.promote import promote_bundle
from textgate.components.storage import Registry, Store, roll_back

GATE = Gate(min_f1=0.8, margin=0.02)
RECIPE = Recipe(
    name="words",
    description="",
    model="model",
    source=Source(uri="words.csv"),
    train=LinearTraining(family="linear"),
    gate=GATE,
)


def test_gate_2_compares_the_served_model_with_the_threshold_and_the_trained_model() -> None:
    good, poor = wrong_at(range(100)), wrong_at(range(250))
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
    assert "its F1 of 'good' differs from the trained model's by -0.0300 [-0.04" in more.message
    assert "it is lower by more than 0.02" in more.message
    other_errors = wrong_at(range(900, 1000))
    assert failed(judge_served(evaluation(other_errors), evaluation(good), MEASURED, None, GATE)) == ["min_agreement"]


def test_evaluations_of_different_texts_are_not_compared() -> None:
    new = evaluation(TRUTH)
    shifted = Evaluation(new.manifest, new.ids[::-1], new.texts, new.truth, new.probabilities)
    with pytest.raises(InputError, match="were evaluated on different texts"):
        judge_served(new, shifted, MEASURED, None, GATE)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    with dataset_writer(tmp_path / "dataset", ["train", "validation", "test"]) as writer:
        for index in range(6):
            split = ["train", "validation", "test"][index % 3]
            writer.add(split, Row(str(index), f"text {index}", LABELS[index % 2]))
        writer.reject(Rejected("9", "duplicate", "bad", "text"))
        writer.finish("<source>", LABELS, normalizer=TextNormalizer())
    return tmp_path / "dataset"


def test_gate_1_writes_its_decision_and_a_report(dataset: Path, tmp_path: Path, store: Store) -> None:
    evaluation(wrong_at(range(300))).write(tmp_path / "evaluation")
    files = (tmp_path / "decision", tmp_path / "page.html")
    decision = gate_trained_model(dataset, tmp_path / "evaluation", Registry(store), RECIPE, "run", *files)
    assert GateDecision.parse(files[0].read_text(), "here") == decision
    assert "the trained model has F1 of &#39;good&#39; 0.7000" in files[1].read_text("utf-8")


@pytest.mark.parametrize("labels", [LABELS, LABELS[::-1]])
def test_a_candidate_is_compared_with_the_predictions_of_the_champion(
    labels: list[str], dataset: Path, tmp_path: Path, store: Store
) -> None:
    """The champion is read from the registry and predicts the same texts with the runtime that serves it.

    Its labels are the same ones, perhaps in another order.
    """
    registry = Registry(store)
    perfect = write_words(tmp_path / "champion", weight=5.0)
    texts = [f"it is {LABELS[label]}" for label in TRUTH]
    first = judge_served(evaluation(TRUTH), evaluation(TRUTH), MEASURED, None, GATE)
    judged = first.model_copy(update={"bundle": ModelBundle.load(perfect).fingerprint})
    version = promote_bundle(registry, "model", perfect, judged, "run-1").version

    order = np.array([labels.index(label) for label in LABELS])
    poor = evaluation(order[wrong_at(range(100))], truth=order[TRUTH], labels=labels)
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
    inputs = ServedModelInputs(
        dataset=dataset,
        served=tmp_path / "evaluation",
        trained=tmp_path / "evaluation",
        merge=tmp_path / "merge",
        measurements=tmp_path / "measurements",
        exported=perfect,
    )
    outputs = ServedModelOutputs(tmp_path / "decision", tmp_path / "page.html", tmp_path / "card.md")
    decision = gate_served_model(inputs, registry, RECIPE, "run-2", outputs)
    assert decision.champion == version
    assert failed(decision) == ["margin"]
    assert "by -0.1000" in decision.message
    assert decision.rules[-1].message == "textgate serve serves it"
    page = (tmp_path / "page.html").read_text("utf-8")
    assert 'onnx-int8</th><td class="n">1.5 MB</td><td class="n">2,000</td><td class="n">100 MB</td>' in page
    assert "changed 0.15\xa0% of the predictions on the test split and the logits by 0.0100 on average" in page


def test_only_the_bundle_that_passed_gate_2_is_promoted(tmp_path: Path, store: Store) -> None:
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
    # A retry of the step changes nothing; another run with the same decision is too late.
    assert promote_bundle(registry, "model", bundle, judged, "run-1") == promoted
    assert len(registry.history("model")) == 1
    with pytest.raises(InputError, match="has been moved by another run since it was compared"):
        promote_bundle(registry, "model", bundle, judged, "run-2")
    other = write_words(tmp_path / "other", weight=6.0)
    stale = judged.model_copy(update={"bundle": ModelBundle.load(other).fingerprint})
    with pytest.raises(InputError, match="has been moved by another run since it was compared"):
        promote_bundle(registry, "model", other, stale, "run-2")


def test_a_rolled_back_version_is_rejected_when_a_later_run_produces_it_again(tmp_path: Path, store: Store) -> None:
    registry = Registry(store)
    passed = judge_served(evaluation(TRUTH), evaluation(TRUTH), MEASURED, None, GATE)

    def produce(weight: float) -> tuple[Path, GateDecision]:
        folder = tmp_path / str(weight)
        bundle = folder if folder.exists() else write_words(folder, weight=weight)
        current = registry.channel("model")
        judged = {"bundle": ModelBundle.load(bundle).fingerprint, "champion": current and current.version}
        return bundle, reject_rolled_back(passed.model_copy(update=judged), registry, "model")

    assert promote_bundle(registry, "model", *produce(5.0), "run-1")
    bad = promote_bundle(registry, "model", *produce(6.0), "run-2").version
    late = produce(6.0)
    roll_back(registry, "model", run="back", reason="it calls praise a complaint")

    bundle, decision = produce(6.0)
    assert failed(decision) == ["not_rolled_back"]
    assert re.fullmatch(
        rf"reject: {bad} was rolled back on [0-9-]{{10}} because it calls praise a complaint: "
        rf"textgate models unblock model {bad} lifts it",
        decision.message,
    )
    # A run that was judged before the rollback is stopped by the registry.
    stale = late[1].model_copy(update={"champion": decision.champion})
    with pytest.raises(InputError, match="was rolled back on"):
        promote_bundle(registry, "model", bundle, stale, "run-3")
    registry.unblock("model", bad, reason="the labels were wrong")
    assert promote_bundle(registry, "model", *produce(6.0), "run-4").version == bad


def hugging_face_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    bundle = ModelBundle.load(write_words(folder.parent / "source"))
    bundle.model_copy(update={"runtime": TransformersRuntime(max_tokens=8)}).write(folder)
    return folder


@pytest.mark.parametrize(
    ("endpoint", "words", "folder"),
    [
        (None, "textgate serve serves it", "vLLM, .* serves it .*textgate serve cannot serve the runtime transformers"),
        ("textgate", "textgate serve serves it", "!the recipe's endpoint is textgate, but only vLLM, .* transformers"),
        (
            "huggingface",
            "!the recipe's endpoint is huggingface, but only textgate serve can serve the runtime linear",
            "vLLM, TEI or KServe's Hugging Face runtime serves it",
        ),
    ],
)
def test_gate_2_promotes_only_what_the_endpoint_of_the_recipe_serves(
    endpoint: Endpoint | None, words: str, folder: str, tmp_path: Path
) -> None:
    bundles = {write_words(tmp_path / "words"): words, hugging_face_folder(tmp_path / "hf"): folder}
    for bundle, expected in bundles.items():
        rule = endpoint_rule(bundle, endpoint)
        assert rule.passed == (not expected.startswith("!"))
        assert re.match(expected.removeprefix("!"), rule.message)


@pytest.mark.parametrize("name", ["weights-nan", "tokenizer-id-beyond-the-embedding", "logits-nan", "no-idf"])
def test_gate_2_rejects_what_the_server_would_refuse(name: str, tmp_path: Path) -> None:
    HOSTILE[name](tmp_path / "bundle")
    good = evaluation(TRUTH)
    decision = judge_served(good, good, MEASURED, None, GATE, None, endpoint_rule(tmp_path / "bundle", None))
    assert failed(decision) == ["endpoint"]
    assert decision.message.startswith("reject: textgate serve cannot serve it: ")
    assert re.search(FAULTS[name], decision.message)
