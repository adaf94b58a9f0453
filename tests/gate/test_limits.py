"""Rules on latency, size, robustness, slices and data: each passes and fails with one sentence."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from gate.evaluations import LABELS, MEASURED, complete, evaluation, failed, wrong_at
from words import write_words

from textgate.components.contracts import (
    Estimate,
    Evaluation,
    Gate,
    LinearTraining,
    Recipe,
    Rejected,
    Row,
    Rule,
    Source,
    TextNormalizer,
    dataset_writer,
)
from textgate.components.contracts.dataset import (
    LEFT_OUT,
    NOT_IN_SHARE,
    DatasetManifest,
)
from textgate.components.contracts.dataset_splits import NearDuplicateGroups
from textgate.components.contracts.evaluation import RobustnessResult, Slice
from textgate.components.contracts.label_issues import CheckedLabel, LabelIssuesManifest
from textgate.components.contracts.measurement import Measurement, Measurements, Speed
from textgate.components.gate.data_rules import data_rules
from textgate.components.gate.gate import (
    ServedModelInputs,
    ServedModelOutputs,
    gate_served_model,
    gate_trained_model,
)
from textgate.components.gate.limits import cost_rules, robustness_rules, slice_rules
from textgate.components.storage import Registry, Store

HALF = Estimate(value=0.5, low=0.4, high=0.6)
SPEEDS = {16: 1.5, 64: 4.0, 256: 20.0}
"""Length in tokens to the milliseconds of one text."""


def gate(**keys: object) -> Gate:
    return Gate.model_validate({"min_f1": 0, **keys})


def measured(
    speeds: Mapping[int, float] = SPEEDS, size: int = 23_000_000, machine: str | None = "AMD EPYC 7B12, 8 cores"
) -> Measurements:
    """Return the measurements of a served target, with another one that keeps to any limit."""

    def target(name: str, speeds: Mapping[int, float], size: int) -> Measurement:
        return Measurement(
            target=name,
            bytes=size,
            parity=0,
            agreement=1,
            f1=HALF,
            f1_difference=HALF,
            speeds=[
                Speed(batch=batch, tokens=tokens, milliseconds=milliseconds * (1 if batch == 1 else 6))
                for tokens, milliseconds in speeds.items()
                for batch in (8, 1)
            ],
            peak_memory=1,
            machine=machine,
        )

    targets = [target("onnx-int4", {64: 0.1}, 1), target("onnx-int8", speeds, size)]
    return MEASURED.model_copy(update={"targets": targets})


def test_the_latency_is_that_of_one_text_of_64_tokens_on_a_named_machine() -> None:
    (reached,) = cost_rules(measured(), gate(max_latency_ms=4))
    assert reached.passed
    assert reached.message == (
        "the served model (onnx-int8) answers one text of 64 tokens in 4.00 ms (median, on AMD EPYC 7B12, 8 cores), "
        "within gate.max_latency_ms=4"
    )
    (missed,) = cost_rules(measured(), gate(max_latency_ms=3.9))
    assert (missed.name, missed.passed, missed.threshold) == ("max_latency_ms", False, 3.9)
    assert missed.message.endswith("more than gate.max_latency_ms=3.9")


def test_the_latency_of_a_model_that_reads_fewer_tokens_is_that_of_its_longest_text() -> None:
    (rule,) = cost_rules(measured({8: 1.0, 16: 1.5}, machine=None), gate(max_latency_ms=2))
    assert rule.passed
    assert "one text of 16 tokens, the longest it reads up to 64, in 1.50 ms (median, on an unknown" in rule.message


def test_the_size_is_that_of_the_files_of_the_served_target() -> None:
    (reached,) = cost_rules(measured(), gate(max_size_mb=23))
    assert reached.passed
    assert reached.message == "the files of the served model (onnx-int8) take 23.00 MB, within gate.max_size_mb=23"
    (missed,) = cost_rules(measured(size=23_000_001), gate(max_size_mb=23))
    assert (missed.name, missed.passed) == ("max_size_mb", False)
    assert missed.message.endswith("take 23.00 MB, more than gate.max_size_mb=23")


@pytest.mark.parametrize("key", ["max_latency_ms", "max_size_mb"])
def test_a_cost_that_was_not_measured_keeps_to_no_limit(key: str) -> None:
    (rule,) = cost_rules(MEASURED, gate(**{key: 1e9}))
    assert not rule.passed
    assert f"of the served model was not measured, so gate.{key} fails" in rule.message


def perturbed(**by_name: tuple[float, float]) -> Evaluation:
    """Return an evaluation in which perturbations lower an F1 of 0.9 by a value, with a half width of the interval."""
    results = [
        RobustnessResult(
            perturbation=name,
            rows=480,
            changed=0.1,
            f1_before=Estimate(value=0.9, low=0.88, high=0.92),
            f1=Estimate(value=0.9 - loss, low=0, high=1),
            f1_difference=Estimate(value=-loss, low=-loss - half, high=-loss + half),
        )
        for name, (loss, half) in by_name.items()
    ]
    return with_manifest(robustness=results)


def with_manifest(**update: object) -> Evaluation:
    found = complete(evaluation(wrong_at(range(100))))
    return Evaluation(
        found.manifest.model_copy(update=update), found.ids, found.texts, found.truth, found.probabilities
    )


def test_the_worst_perturbation_is_compared_with_the_robustness_limit() -> None:
    model = perturbed(case=(0.01, 0.05), typos=(0.04, 0.01), synonyms=(-0.02, 0.01))
    (reached,) = robustness_rules(model, gate(max_robustness_loss=0.04))
    assert reached.passed
    assert reached.message == (
        "the perturbation typos, the worst of 3 perturbations, changes F1 of 'good' of the served model from 0.9000 to "
        "0.8600, by -0.0400 [-0.0500, -0.0300], on 480 perturbed test texts, and the point estimate keeps to "
        "gate.max_robustness_loss=0.04"
    )
    (missed,) = robustness_rules(model, gate(max_robustness_loss=0.03))
    assert (missed.name, missed.passed, missed.threshold) == ("max_robustness_loss", False, -0.03)
    assert missed.value == Estimate(value=-0.04, low=-0.05, high=-0.03)
    assert "the point estimate is beyond gate.max_robustness_loss=0.03" in missed.message


def test_the_lower_end_of_the_difference_can_be_required() -> None:
    """The interval of the perturbation ``case`` reaches lower than that of ``typos``, whose loss is larger."""
    model = perturbed(case=(0.01, 0.05), typos=(0.04, 0.01))
    (missed,) = robustness_rules(model, gate(max_robustness_loss=0.055, on="lower"))
    assert not missed.passed
    assert "the perturbation case, the worst of 2 perturbations," in missed.message
    assert "the lower end of the interval is beyond gate.max_robustness_loss=0.055" in missed.message
    (reached,) = robustness_rules(model, gate(max_robustness_loss=0.0601, on="lower"))
    assert reached.passed


def test_a_robustness_that_was_not_measured_keeps_to_no_limit() -> None:
    (rule,) = robustness_rules(perturbed(), gate(max_robustness_loss=1))
    assert not rule.passed
    assert "because no perturbation of evaluate.robustness changes test texts of two labels" in rule.message


def sliced(*slices: tuple[str, int, Estimate]) -> Evaluation:
    found = [
        Slice(column="genre", value=value, rows=rows, f1=None, accuracy=accuracy) for value, rows, accuracy in slices
    ]
    return with_manifest(slices=found)


GOOD, WIDE, POOR = (
    Estimate(value=value, low=low, high=high)
    for value, low, high in ((0.9, 0.88, 0.92), (0.85, 0.6, 0.95), (0.84, 0.8, 0.88))
)


def test_every_slice_with_enough_texts_has_to_reach_the_accuracy() -> None:
    model = sliced(("drama", 800, GOOD), ("comedy", 20, WIDE), ("horror", 180, POOR), ("western", 19, HALF))
    (reached,) = slice_rules("the trained model", model, gate(min_slice_accuracy=0.84))
    assert reached.passed
    (missed,) = slice_rules("the trained model", model, gate(min_slice_accuracy=0.86))
    assert (missed.name, missed.value) == ("min_slice_accuracy", POOR)
    assert missed.message == (
        "the trained model has accuracy 0.8400 [0.8000, 0.8800] on the 180 test texts of genre horror, the worst of 3 "
        "slices with at least 20 test texts (gate.min_test_rows), and the point estimate does not reach "
        "gate.min_slice_accuracy=0.86; 1 smaller slice is not judged"
    )
    (lower,) = slice_rules("the trained model", model, gate(min_slice_accuracy=0.7, on="lower"))
    assert not lower.passed
    assert "of genre comedy, the worst of 3" in lower.message
    # Fewer texts can be enough.
    (fewer,) = slice_rules("the trained model", model, gate(min_slice_accuracy=0.84, min_test_rows=19))
    assert not fewer.passed
    assert "of genre western, the worst of 4" in fewer.message


def test_slices_without_enough_texts_reach_no_accuracy() -> None:
    (rule,) = slice_rules("the served model", sliced(("a", 10, GOOD), ("b", 5, GOOD)), gate(min_slice_accuracy=0))
    assert not rule.passed
    assert rule.message == (
        "no slice can be compared with gate.min_slice_accuracy=0: none has at least 20 test texts "
        "(gate.min_test_rows); 2 smaller slices are not judged"
    )


def manifest(rejected: Mapping[str, int] | None = None, near: Mapping[str, int] | None = None) -> DatasetManifest:
    """Return the manifest of 800 + 200 texts."""
    counts = {"train": {"bad": 776, "good": 24}, "test": {"bad": 150, "good": 50}}
    reasons = dict(rejected or {})
    return DatasetManifest(
        source="texts.csv",
        labels=LABELS,
        counts=counts,
        rows_in=1_000 + sum(reasons.values()),
        rejected=reasons,
        near_duplicates=None if near is None else dict(near),
        fingerprint="d",
    )


def data_rule(dataset: DatasetManifest, **keys: object) -> Rule:
    (rule,) = data_rules(dataset, gate(**keys))
    return rule


def test_rejected_rows_count_unless_the_recipe_asked_for_their_rejection() -> None:
    rejected = {"duplicate": 150, "empty text": 50, LEFT_OUT: 700, NOT_IN_SHARE: 100}
    reached = data_rule(manifest(rejected), max_rejected=0.1)
    assert reached.passed
    assert reached.message == (
        "10.00% of the 2,000 rows of the source were rejected (duplicate: 150, empty text: 50), within "
        "gate.max_rejected=0.1"
    )
    missed = data_rule(manifest(rejected), max_rejected=0.099)
    assert (missed.name, missed.passed, missed.threshold) == ("max_rejected", False, 0.099)
    assert missed.message.endswith("more than gate.max_rejected=0.099")
    assert data_rule(manifest(), max_rejected=0).message == (
        "0.00% of the 1,000 rows of the source were rejected, within gate.max_rejected=0"
    )


def test_near_duplicates_are_a_share_of_the_texts_of_all_splits() -> None:
    copies = {"train": 40, "test": 10}
    assert data_rule(manifest(near=copies), max_near_duplicates=0.05).passed
    missed = data_rule(manifest(near=copies), max_near_duplicates=0.049)
    assert (missed.name, missed.passed) == ("max_near_duplicates", False)
    assert missed.message == (
        "5.00% of the 1,000 texts are near duplicates of others (train: 40, test: 10), more than "
        "gate.max_near_duplicates=0.049"
    )
    groups = NearDuplicateGroups(threshold=0.65, texts=12, groups=5, joined=2, scattered=0)
    with_groups = manifest(near=copies).model_copy(update={"near_duplicate_groups": groups})
    counted = data_rule(with_groups, max_near_duplicates=0.05)
    assert not counted.passed
    assert "and 7 that differ in some words" in counted.message
    unknown = data_rule(manifest(), max_near_duplicates=1)
    assert not unknown.passed
    assert "it is unknown how many texts are near duplicates" in unknown.message


def test_labels_that_look_wrong_are_a_share_of_the_checked_training_texts() -> None:
    labels = {"bad": CheckedLabel(checked=760, issues=5), "good": CheckedLabel(checked=40, issues=15)}
    checked = LabelIssuesManifest(dataset="d", texts=900, labels=labels, unchecked={"rare": 3}, pairs=[])
    (reached,) = data_rules(manifest(), gate(max_label_issues=0.025), checked)
    assert reached.passed
    (missed,) = data_rules(manifest(), gate(max_label_issues=0.024), checked)
    assert (missed.name, missed.passed, missed.threshold) == ("max_label_issues", False, 0.024)
    assert missed.message == (
        "the labels of 2.50% of the 800 checked training texts look wrong (most often 'good': 15, 'bad': 5), more than "
        "gate.max_label_issues=0.024"
    )
    nothing = checked.model_copy(update={"labels": {}})
    for issues in (None, nothing):
        (unknown,) = data_rules(manifest(), gate(max_label_issues=1), issues)
        assert not unknown.passed
        assert "no labels of training texts were checked" in unknown.message


def test_the_rarest_label_needs_its_training_texts() -> None:
    assert data_rule(manifest(), min_label_rows=24).passed
    missed = data_rule(manifest(), min_label_rows=25)
    assert (missed.name, missed.passed, missed.threshold) == ("min_label_rows", False, 25)
    assert missed.message == "the rarest label, 'good', has 24 training texts, fewer than gate.min_label_rows=25"


def test_a_gate_without_limits_has_no_rule_on_them() -> None:
    rules = [
        *cost_rules(MEASURED, gate()),
        *robustness_rules(perturbed(), gate()),
        *slice_rules("the served model", sliced(), gate()),
        *data_rules(manifest(), gate()),
    ]
    assert rules == []


def test_gate_1_checks_slices_and_data_and_gate_2_every_limit(tmp_path: Path, store: Store) -> None:
    with dataset_writer(tmp_path / "dataset", ["train", "validation", "test"], keyed=True) as writer:
        for index in range(6):
            row = Row(str(index), f"text {index}", LABELS[index % 2], key=f"{index:016x}")
            writer.add(["train", "validation", "test"][index % 3], row)
        writer.reject(Rejected("9", "duplicate", "bad", "text"))
        writer.finish("words.csv", LABELS, normalizer=TextNormalizer())
    broken = {"max_latency_ms": 1, "max_size_mb": 1, "max_robustness_loss": 0.01, "min_slice_accuracy": 0.99}
    broken |= {"max_rejected": 0.1, "min_label_rows": 2}
    recipe = Recipe(
        name="words",
        description="",
        model="model",
        source=Source(uri="words.csv"),
        train=LinearTraining(family="linear"),
        gate=gate(**broken, max_near_duplicates=0),
    )
    both = ["min_slice_accuracy", "max_rejected", "min_label_rows"]
    result = with_manifest(
        slices=sliced(("drama", 800, GOOD)).manifest.slices,
        robustness=perturbed(typos=(0.04, 0.01)).manifest.robustness,
    )
    result.write(tmp_path / "evaluation")
    registry, files = Registry(store), (tmp_path / "first", tmp_path / "first.html")
    first = gate_trained_model(tmp_path / "dataset", tmp_path / "evaluation", registry, recipe, "run", *files)
    assert failed(first) == both
    assert "the trained model has accuracy 0.9000" in first.message

    measured().write(tmp_path / "measurements")
    (tmp_path / "merge").write_text("null")
    inputs = ServedModelInputs(
        dataset=tmp_path / "dataset",
        served=tmp_path / "evaluation",
        trained=tmp_path / "evaluation",
        merge=tmp_path / "merge",
        measurements=tmp_path / "measurements",
        exported=write_words(tmp_path / "bundle"),
    )
    outputs = ServedModelOutputs(tmp_path / "second", tmp_path / "second.html", tmp_path / "card.md")
    second = gate_served_model(inputs, registry, recipe, "run", outputs)
    assert failed(second) == ["max_latency_ms", "max_size_mb", "max_robustness_loss", *both]
    assert second.rules[-2].name == "max_near_duplicates"
    for sentence in ("the served model has accuracy 0.9000", "changes F1 of 'good' of the served model"):
        assert sentence in second.message
    assert "in 4.00 ms (median, on AMD EPYC 7B12, 8 cores)" in (tmp_path / "second.html").read_text("utf-8")
