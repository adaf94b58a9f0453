"""Model card: its numbers, its header as the hub's library reads it, and Markdown that data cannot break."""

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.card.card import CardInputs, model_card
from textgate.components.card.energy import Energy
from textgate.components.card.limits import limits
from textgate.components.card.markdown import code, fenced, table, text
from textgate.components.card.public import public_address
from textgate.components.card.snippets import REPOSITORY, onnxruntime_snippet
from textgate.components.contracts import (
    Calibration,
    Estimate,
    Evaluation,
    EvaluationManifest,
    GateDecision,
    Insight,
    JudgedScore,
    LinearRuntime,
    ModelBundle,
    OnnxRuntime,
    OutOfDomainSet,
    Recipe,
    Rule,
    SplitUses,
    TextNormalizer,
    TrainingCost,
)
from textgate.components.contracts.dataset import (
    DatasetManifest,
)
from textgate.components.contracts.dataset_splits import SplitChoice
from textgate.components.contracts.evaluation import ClassScores, RobustnessResult, Slice
from textgate.components.contracts.insight import TopWord
from textgate.components.contracts.losses import Loss, RejectedExample
from textgate.components.contracts.measurement import Measurement, Measurements, Speed
from textgate.components.contracts.training_cost import AcceleratorUse, EarlierTraining
from textgate.components.inference import load_bundle

COMMIT = "0123456789" * 4
LABELS = ["bad", "good"]
RECIPE = f"""
name: films
description: made-up film reviews
model: films
source: {{uri: "hf://org/films@{COMMIT}"}}
preprocess: {{language: en}}
train: {{family: transformer, base_model: "hf://org/base@{COMMIT}"}}
gate: {{min_f1: 0.8}}
"""
ODD = st.text(st.sampled_from("|\\`*_[]<>&$~# \n\r\x1b-1.é漢") | st.characters(codec="utf-8"), max_size=20)


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.02, high=value + 0.02)


def bundle(labels: list[str] = LABELS, **changes: Any) -> ModelBundle:
    runtime = OnnxRuntime(precision="int8", max_tokens=64, opset=20, producer="", inputs={"input_ids": []}, outputs={})
    manifest = ModelBundle(
        name="films",
        family="transformer",
        runtime=runtime,
        labels=labels,
        normalizer=TextNormalizer(lowercase=True),
        recipe={"train": {"family": "transformer", "epochs": 5, "head": {"C": 2.0}}},
        metrics={"validation_f1": 0.83},
        dataset="d" * 64,
        versions={"numpy": "2.4.6"},
    )
    return manifest.model_copy(update=changes)


def evaluation(labels: list[str] = LABELS, words: list[str] | None = None, **changes: Any) -> Evaluation:
    per_class = {
        label: ClassScores(
            rows=50, precision=estimate(0.71 + n / 100), recall=estimate(0.6), f1=estimate(0.65 + n / 10)
        )
        for n, label in enumerate(labels)
    }
    confusion = [
        [40 if row == column else 5 * (column + 1) for column in range(len(labels))] for row in range(len(labels))
    ]
    manifest = EvaluationManifest(
        bundle="b" * 64,
        runtime="onnx",
        dataset="d" * 64,
        split="test",
        labels=labels,
        metrics={
            "f1": estimate(0.8),
            "accuracy": estimate(0.82),
            "mcc": estimate(0.6),
            "calibration_error": estimate(0.04),
        },
        per_class=per_class,
        confusion=confusion,
        calibration_error_before=0.09,
        rows_per_second=100.0,
        slices=[
            Slice(column="length", value="1 to 9", rows=30, f1=estimate(0.9), accuracy=estimate(0.61), p_worse=0.01),
            Slice(column="source", value="web", rows=70, f1=None, accuracy=estimate(0.9), p_worse=1.0),
            Slice(column="source", value="few", rows=20, f1=estimate(0.1), accuracy=estimate(0.6), p_worse=0.2),
        ],
        length_bias=estimate(-0.2),
        robustness=[
            RobustnessResult(
                perturbation=name,
                rows=90,
                changed=0.125,
                f1_before=estimate(0.8),
                f1=estimate(0.8 - drop),
                f1_difference=estimate(-drop),
            )
            for name, drop in {"case": 0.03, "typos": 0.1}.items()
        ],
        out_of_domain=[
            OutOfDomainSet(name="tweets", dataset="e" * 64, rows=80, f1=estimate(0.55), accuracy=estimate(0.6))
        ],
        training_cost=TrainingCost(seconds=7_200, cpu_seconds=10_800, peak_memory=1_500_000_000),
    )
    top_words = {labels[0]: [TopWord(word=word, contribution=1.25, texts=3) for word in words or ["dull"]]}
    no_rows = np.zeros((0, len(labels)))
    return Evaluation(
        manifest.model_copy(update=changes), [], [], np.zeros(0, np.int64), no_rows, Insight(top_words=top_words)
    )


def dataset(labels: list[str] = LABELS, source: str = "films.csv", **rejected: int) -> DatasetManifest:
    counts = {"train": dict.fromkeys(labels, 1_000), "test": dict.fromkeys(labels, 50)}
    rows = 1_050 * len(labels) + sum(rejected.values())
    return DatasetManifest(
        source=source, labels=labels, counts=counts, rows_in=rows, rejected=rejected, fingerprint="d" * 64
    )


def decision(message: str = "F1 reaches the threshold 0.8", passed: bool = True) -> GateDecision:
    rule = Rule(name="min_f1", threshold=0.8, value=estimate(0.8), passed=passed, message=message)
    return GateDecision(gate="served", bundle="b" * 64, dataset="d" * 64, champion="605127f62e6b", rules=[rule])


MEASUREMENTS = Measurements(
    served="onnx-int8",
    max_f1_loss=0.01,
    min_agreement=0.95,
    targets=[
        Measurement(
            target="onnx-int8",
            bytes=23_000_000,
            parity=0.01,
            agreement=0.991,
            split="validation",
            f1=estimate(0.8),
            f1_difference=estimate(0),
            speeds=[Speed(batch=8, tokens=64, milliseconds=10)],
            peak_memory=80_000_000,
        )
    ],
)


def card(recipe: str = RECIPE, **changes: Any) -> str:
    parts: dict[str, Any] = {
        "bundle": bundle(),
        "dataset": dataset(duplicate=7),
        "evaluation": evaluation(),
        "decision": decision(),
        "measurements": MEASUREMENTS,
        "unseen": None,
        **changes,
    }
    return model_card(CardInputs(recipe=Recipe.parse(recipe, "films.yaml"), trained=parts["evaluation"], **parts))


def tables(markdown: str) -> list[list[list[str]]]:
    """Return the cells of every table as GitHub reads them: an escaped pipe does not end a cell."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", re.sub(r"(`{3,}).*?\n\1", "", markdown, flags=re.DOTALL), re.MULTILINE)
    return [[re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1] for line in block.splitlines()] for block in blocks]


def test_the_header_is_read_by_the_hubs_library_with_every_metric_and_its_interval() -> None:
    read = ModelCard(card()).data
    assert (read.base_model, read.datasets, read.language) == ("org/base", ["org/films"], "en")
    assert (read.pipeline_tag, read.library_name) == ("text-classification", "onnxruntime")
    assert read.tags == ["textgate", "text-classification", "onnx"]
    assert read.license is None
    assert read.model_name == "films"
    results = {result.metric_type: result for result in read.eval_results}
    assert {kind: result.metric_value for kind, result in results.items()} == {
        "f1": 0.8,
        "accuracy": 0.82,
        "matthews_correlation": 0.6,
        "calibration_error": 0.04,
    }
    assert results["f1"].metric_name == "F1, 95 % interval 0.7800 to 0.8200"
    assert {(result.dataset_name, result.dataset_revision, result.dataset_split) for result in results.values()} == {
        ("org/films", COMMIT, "test")
    }
    # 3 core-hours x 12 W = 0.036 kWh; x 445 g.
    assert read.co2_eq_emissions["emissions"] == pytest.approx(16.02)


def test_data_and_base_model_outside_the_hub_are_not_in_the_hubs_metadata() -> None:
    recipe = RECIPE.replace(f"hf://org/films@{COMMIT}", "/home/me/films.csv").replace(f"hf://org/base@{COMMIT}", "base")
    read = ModelCard(card(recipe, bundle=bundle(runtime=LinearRuntime(ngrams=(1, 1), sublinear=True)))).data
    assert (read.base_model, read.datasets, read.library_name) == (None, None, "textgate")
    assert {result.dataset_name for result in read.eval_results} == {"films.csv"}


def test_a_subset_and_further_sources_are_named() -> None:
    also = "also: {forum: {uri: /home/me/forum.csv}, more: {uri: hf://org/more}}"
    uri = f'uri: "hf://org/films@{COMMIT}"'
    markdown = card(RECIPE.replace(uri, f"uri: hf://org/films/en@{COMMIT}, {also}"))
    read = ModelCard(markdown).data
    assert read.datasets == ["org/films", "org/more"]
    assert {(result.dataset_name, result.dataset_config, result.dataset_revision) for result in read.eval_results} == {
        ("org/films", "en", COMMIT)
    }
    assert f"`hf://org/films/en@{COMMIT}, forum.csv, hf://org/more`" in markdown
    assert "/home/me" not in markdown


def test_rejected_rows_are_named_by_class_without_their_texts() -> None:
    data = dataset(**{"empty text": 5, "unknown label": 2})
    examples = [RejectedExample(id="films.csv:9", text="a secret text")]
    losses = [
        Loss(reason="empty text", label="bad", split="all", rows=3, examples=examples),
        Loss(reason="empty text", label="good", split="test", rows=2, examples=examples),
        Loss(reason="unknown label", label="a secret label", split="all", rows=2, examples=examples),
    ]
    markdown = card(dataset=data.model_copy(update={"losses": losses}))
    assert "2,107 rows in = 2,100 kept + 7 rejected" in markdown
    assert (
        "| empty text | 'bad' 3 of 1,053 (0.3%), 'good' 2 of 1,052 (0.2%) | 2 in the given split test | 5 |" in markdown
    )
    assert "| unknown label |  |  | 2 |" in markdown
    assert "secret" not in markdown


def test_the_card_contains_all_results() -> None:
    markdown = card()
    for part in (
        "made-up film reviews",
        "On 95 test texts, F1 of 'good' is 0.8000 (0.7800 to 0.8200)",
        "2,107 rows in = 2,100 kept + 7 rejected",
        "| duplicate | 7 |",
        "| F1 | 0.8000 | 0.7800 | 0.8200 |",
        "| Matthews correlation | 0.6000 | 0.5800 | 0.6200 |",
        "| bad | 50 | 0.7100 | 0.6900 | 0.7300 | 0.6000 | 0.5800 | 0.6200 | 0.6500 | 0.6300 | 0.6700 |",
        "| length | 1 to 9 | 30 | 0.6100 | 0.5900 | 0.6300 | 0.9000 | 0.8800 | 0.9200 | yes |",
        "| source | web | 70 | 0.9000 | 0.8800 | 0.9200 | one label |  |  | no |",
        "corrected for the 3 slices (Holm)",
        "| typos | 90 | 12.5 % | 0.8000 | 0.7000 | \u22120.1000 | \u22120.1200 | \u22120.0800 |",
        "| tweets | 80 | 0.5500 | 0.5300 | 0.5700 | 0.6000 | 0.5800 | 0.6200 |",
        "- bad: dull (+1.25)",
        # Settings of the bundle, which differ from the recipe's after a sweep.
        "| epochs | 5 |",
        "| head.C | 2.0 |",
        "| Export target | MB | Texts per second | Peak MB | F1 (validation) | Agreement (validation) | Served |",
        "| onnx-int8 | 23.0 | 800 | 80 | 0.8000 | 0.9910 | yes |",
        "Training took 2h00m and 1,500 MB of memory. That is about **0.036 kWh** and **16 g CO2e**",
        "(10800.0 core-seconds × 12 W) / 3,600,000 = 0.036 kWh;  × 445 g/kWh = 16 g",
        "The CPU time was measured",
        "doi:10.1002/advs.202100707",
        "| numpy | 2.4.6 |",
        "Promoted by the gate on the served model, compared with the champion `605127f62e6b`",
        "- Passed: F1 reaches the threshold 0.8.",
        f"textgate serve films@{bundle().fingerprint[:12]}",
        f'textgate.load("hf://{REPOSITORY}")',
        "lowercase true",
    ):
        assert part in markdown, part
    assert card() == markdown


def test_the_limitations_are_the_worst_results() -> None:
    assert limits(bundle(), evaluation().manifest) == [
        "The label with the lowest F1 is bad: 0.6500 (0.6300 to 0.6700) on 50 texts, with recall 60.0\xa0% and "
        "precision 71.0\xa0%.",
        "The most common error is to predict good for bad: 10 of 50 texts.",
        "The slice with the lowest accuracy among those that chance does not explain is length 1 to 9: 0.6100 (0.5900 "
        "to 0.6300) on 30 texts, 0.8200 on all.",
        "Accuracy is lower on long texts: that on the longest quarter minus that on the shortest is \u22120.2000 "
        "(\u22120.2200 to \u22120.1800).",
        "The most harmful perturbation is typos: F1 falls from 0.8000 to 0.7000 (by \u22120.1200 to \u22120.0800), and "
        "12.5\xa0% of the predictions change.",
        "The out-of-domain data set with the lowest F1 is tweets: 0.5500 (0.5300 to 0.5700), against 0.8000 on the "
        "test split.",
        "Predicted probabilities differ from the share of correct predictions by 0.0400 (0.0200 to 0.0600) on average "
        "(expected calibration error).",
        "The model reads the first 64 tokens of a text and ignores the rest.",
    ]


def test_missing_analyses_are_limitations_and_chance_is_named() -> None:
    nothing = evaluation(
        slices=[],
        robustness=[],
        out_of_domain=[],
        length_bias=estimate(0.01),
        per_class={},
        metrics={"f1": estimate(0.8), "accuracy": estimate(0.8)},
    )
    linear = bundle(runtime=LinearRuntime(ngrams=(1, 1), sublinear=True))
    missing = limits(linear, nothing.manifest.model_copy(update={"confusion": [[50, 0], [0, 50]]}))
    assert [sentence.split(":")[0] for sentence in missing] == [
        "No slices of the test texts were evaluated",
        "Robustness to typos, changed case or synonyms was not evaluated.",
        "Texts from other sources were not evaluated",
    ]
    part = Slice(column="length", value="1 to 9", rows=30, f1=estimate(0.5), accuracy=estimate(0.7), p_worse=0.06)
    same = [result.model_copy(update={"f1_difference": estimate(-0.01)}) for result in evaluation().manifest.robustness]
    sentences = " ".join(limits(bundle(), evaluation(slices=[part], robustness=same).manifest))
    assert "this can be chance" in sentences
    assert "No perturbation (case, typos) lowers F1 by more than chance." in sentences


def test_earlier_uses_of_the_test_texts_are_stated() -> None:
    uses = SplitUses(candidates=12, full_uses=9.42, corrected=0.7934)
    score = JudgedScore(
        metric="f1",
        title="F1 of 'good'",
        value=estimate(0.8),
        rows=300,
        constant_label="good",
        constant=0.66,
        uses=uses,
    )
    assert "judged on these" not in card(decision=decision())
    markdown = card(decision=decision().model_copy(update={"score": score}))
    assert f"On F1 of 'good': {uses.message}." in markdown


def test_the_gap_to_the_validation_split_is_stated() -> None:
    score = JudgedScore(
        metric="f1",
        title="F1 of 'good'",
        value=estimate(0.8),
        rows=100,
        constant_label="good",
        constant=0.5,
        validation=0.9,
        gap=estimate(0.1),
    )
    markdown = card(decision=decision().model_copy(update={"score": score}))
    assert (
        "Validation and test: the trained model has F1 of 'good' 0.9000 on the validation split and 0.8000 on the test "
        "split: the gap of +0.1000 ["
    ) in markdown.replace("\\", "")
    assert "Validation and test:" not in card()


def test_a_rejection_and_missing_results_are_stated() -> None:
    recipe = RECIPE.replace("made-up film reviews", '""')
    none = Measurements(served="onnx-int8", max_f1_loss=0.01, min_agreement=0.95, targets=[])
    bare = evaluation(slices=[], robustness=[], out_of_domain=[], training_cost=None, per_class={})
    markdown = card(recipe, evaluation=bare, decision=decision(passed=False), measurements=none, dataset=dataset())
    assert "Rejected by the gate" in markdown
    assert "- Failed: F1 reaches" in markdown
    assert "The training time was not measured." in markdown
    assert "Description in its recipe" not in markdown
    for absent in (
        "### Slices",
        "### Labels",
        "### Robustness",
        "### Out of domain",
        "| Reason |",
        "| Export target |",
    ):
        assert absent not in markdown
    assert all(len(rows) > 2 for rows in tables(markdown))
    assert ModelCard(markdown).data.get("co2_eq_emissions") is None


def test_the_energy_is_that_of_busy_cores_and_of_all_requested_accelerators() -> None:
    resources = "resources: {nodes: 2, accelerator: {type: nvidia.com/gpu, count: 2}, cpu: 1500m}"
    recipe = Recipe.parse(f"{RECIPE}{resources}\n", "films.yaml")
    busy = Energy.of(TrainingCost(seconds=3_600, cpu_seconds=1_800, peak_memory=0), recipe)
    assert busy.kwh == pytest.approx(0.5 * 0.012 + 4 * 0.4)
    assert busy.grams == pytest.approx(busy.kwh * 445)
    # Without a measurement, 2 machines of 1.5 cores count for the whole hour.
    bound = Energy.of(TrainingCost(seconds=3_600, peak_memory=0), recipe)
    assert (bound.measured, bound.core_seconds) == (False, 3 * 3_600)
    assert bound.kwh == pytest.approx(3 * 0.012 + 4 * 0.4)
    assert "each of 4 accelerators that the recipe requests on a cluster 400 W" in card(f"{RECIPE}{resources}\n")
    # A training that waits for a download or another process uses no energy for it.
    waiting = Energy.of(TrainingCost(seconds=3_600, cpu_seconds=36, peak_memory=0), Recipe.parse(RECIPE, "films.yaml"))
    assert waiting.kwh == pytest.approx(0.01 * 0.012)


def test_the_card_says_how_many_test_texts_were_not_used_in_training() -> None:
    rows = sum(map(sum, evaluation().manifest.confusion))
    own = f"Of its {rows} texts, {{}} were not used in training or validation of the model"
    assert f"{own.format(rows)}. Intervals" in card(unseen=rows)
    assert f"{own.format(rows - 3)}, and the others were: the scores are too high. Int" in card(unseen=rows - 3)
    unknown = f"How many of its {rows} texts were used in training or validation of the model{{}} is unknown."
    assert unknown.format("") in card(unseen=None)
    train = f'train: {{family: transformer, base_model: "hf://org/base@{COMMIT}"}}'
    members = "train: {family: ensemble, members: [{bundle: films-a}, {bundle: films-b}]}"
    taught = train[:-1] + ", distillation: {teacher: films-a}}"
    assert f"{own.format(rows)} and of its members." in card(RECIPE.replace(train, members), unseen=rows)
    assert unknown.format(" and of its teacher") in card(RECIPE.replace(train, taught), unseen=None)


def test_a_test_split_by_time_says_from_when_on_the_texts_are() -> None:
    assert "latest texts" not in card()
    by_hash = dataset().model_copy(update={"test_split": SplitChoice(by="hash")})
    assert "latest texts" not in card(dataset=by_hash)
    choice = SplitChoice(by="time", column="date", since="2026-03-01")
    markdown = card(dataset=dataset().model_copy(update={"test_split": choice}))
    assert "The test split is the latest texts: those whose `date` is `2026-03-01` or later, without copies" in markdown


def test_accelerators_are_those_that_the_training_could_use_if_that_was_recorded() -> None:
    resources = "resources: {nodes: 2, accelerator: {type: nvidia.com/gpu, count: 2}, cpu: 1500m}"
    recipe = Recipe.parse(f"{RECIPE}{resources}\n", "films.yaml")
    cost = TrainingCost(seconds=3_600, cpu_seconds=0, peak_memory=0, accelerators=1)
    assert Energy.of(cost, recipe).kwh == pytest.approx(0.4)
    assert Energy.of(cost.model_copy(update={"accelerators": 0}), recipe).kwh == 0
    markdown = card(f"{RECIPE}{resources}\n", evaluation=evaluation(training_cost=cost))
    assert "and each accelerator 400 W for the whole training" in markdown
    assert "requests on a cluster" not in markdown


def test_memory_and_speed_on_a_gpu_are_stated() -> None:
    use = AcceleratorUse(name="NVIDIA L4", peak_allocated=1, peak_reserved=7_100_000_000, mfu=0.41)
    cost = TrainingCost(seconds=3_600, peak_memory=1, accelerators=2, accelerator_use=use)
    sentence = "On 2 × NVIDIA L4 (7.1 GB of GPU memory, 41% MFU; memory is the peak of one device)."
    assert sentence in card(evaluation=evaluation(training_cost=cost))
    assert "NVIDIA L4" not in card()


def test_the_energy_includes_the_members_of_an_ensemble_and_states_that_of_a_teacher() -> None:
    teacher = TrainingCost(seconds=7_200, cpu_seconds=36_000, peak_memory=0, accelerators=0)
    student = TrainingCost(
        seconds=1_800,
        cpu_seconds=3_600,
        peak_memory=0,
        accelerators=1,
        earlier=[EarlierTraining(bundle="/home/me/big", role="teacher", cost=teacher)],
    )
    members = {"films-a": student, "films-b@challenger": None}
    earlier = [EarlierTraining(bundle=name, role="member", cost=cost) for name, cost in members.items()]
    cost = TrainingCost(seconds=60, cpu_seconds=36, peak_memory=10**9, accelerators=0, earlier=earlier)
    recipe = Recipe.parse(RECIPE, "films.yaml")
    energy = Energy.of(cost, recipe)
    assert energy.kwh == pytest.approx(1.01 * 0.012 + 0.5 * 0.4)
    assert (energy.core_seconds, energy.accelerator_seconds, energy.measured) == (3_636, 1_800, True)
    markdown = card(evaluation=evaluation(training_cost=cost))
    assert (
        "Training took 31m00s, including its member films-a, without its member films-b@challenger of unknown cost, "
        "without its teacher big (2h00m), and 1,000 MB" in markdown
    )
    assert "Its teacher big, whose training is not included, took 2h00m: about 0.12 kWh and 53 g CO2e" in markdown
    assert "/home/me" not in markdown


def test_the_energy_names_the_models_that_were_trained_before() -> None:
    train = f'train: {{family: transformer, base_model: "hf://org/base@{COMMIT}"}}'
    members = "train: {family: ensemble, members: [{bundle: films-a}, {bundle: films-b@challenger}]}"
    assert train in RECIPE
    assert "does not include memory, the steps before and after training, cooling" in card()
    ensemble = card(RECIPE.replace(train, members))
    assert "Training took 2h00m, without its members films-a and films-b@challenger of unknown cost, and" in ensemble


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("https://me:secret@host/films.csv?X-Amz-Signature=abc", "https://host/films.csv"),
        ("/home/me/films.csv", "films.csv"),
        ("file:///home/me/films.csv", "films.csv"),
        (f"hf://org/films@{COMMIT}", f"hf://org/films@{COMMIT}"),
        ("pypi://films/1.0/films.csv#sha256=abc", "pypi://films/1.0/films.csv#sha256=abc"),
        ("s3://bucket/films/", "s3://bucket/films/"),
        ("films@challenger", "films@challenger"),
    ],
)
def test_only_the_public_part_of_an_address_is_shown(uri: str, public: str) -> None:
    assert public_address(uri) == public
    markdown = card(RECIPE.replace(f"hf://org/films@{COMMIT}", uri), dataset=dataset(source=uri))
    assert public in markdown
    assert not re.search("secret|Signature|/home", markdown)


def test_the_local_path_of_a_base_model_is_not_published() -> None:
    recipe = {"train": {"family": "transformer", "base_model": "/home/me/base"}}
    markdown = card(RECIPE.replace(f"hf://org/base@{COMMIT}", "/home/me/base"), bundle=bundle(recipe=recipe))
    assert "base_model: base\n" in markdown
    assert "/home" not in markdown


@pytest.fixture(scope="module")
def plain() -> str:
    """Return a card of data without special characters."""
    return card(dataset=dataset())


@settings(deadline=None, max_examples=25)
@given(words=st.lists(ODD, min_size=4, max_size=4, unique_by=lambda word: word.strip()))
def test_data_cannot_change_the_structure_of_the_card(plain: str, words: list[str]) -> None:
    first, second, word, sentence = words
    labels = [f"a{first}", f"b{second}"]
    recipe = Recipe.parse(RECIPE, "films.yaml").model_copy(update={"description": f"x{sentence}"})
    results = evaluation(labels, [word])
    result = decision(f"it is {sentence}")
    markdown = model_card(
        CardInputs(bundle(labels), recipe, dataset(labels), results, results, result, MEASUREMENTS, 7)
    )
    # The headings, tables and list items are the same for all content.
    for pattern in (r"^#+ .*$", r"^- ", r"^\|( ---:?\s\|)+$", r"^```\w*$", r"^</?details>$"):
        pattern = pattern.replace(r"\s", " ")
        assert len(re.findall(pattern, markdown, re.MULTILINE)) == len(re.findall(pattern, plain, re.MULTILINE)), (
            pattern
        )
    assert [[len(row) for row in rows] for rows in tables(markdown)] == [
        [len(row) for row in rows] for rows in tables(plain)
    ]
    assert ModelCard(markdown).data.model_name == "films"
    assert not re.search(
        r"(?<!\\)<(?!details>|/details>|summary>|/summary>)", re.sub(r"(`{3,}).*?\n\1", "", markdown, flags=re.DOTALL)
    )


def test_text_code_and_tables_are_escaped() -> None:
    assert text("a|b\n# *c* <d>") == r"a\|b # \*c\* \<d\>"
    assert (code("a"), code("a`b"), code("`a"), code("a|b")) == ("`a`", "``a`b``", "`` `a ``", r"a\|b")
    assert fenced("```\nx\n````", "yaml") == "`````yaml\n```\nx\n````\n`````"
    assert table(["A", "B"], [["x|", 1]]) == "| A | B |\n| --- | ---: |\n| x\\| | 1 |"


@pytest.fixture
def onnx_bundle(tmp_path: Path) -> Callable[[Calibration], Path]:
    """Return a function that writes a bundle: a tokenizer of four words, and a graph that sums two logits per token."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    def write(calibration: Calibration) -> Path:
        folder = tmp_path / "bundle"
        folder.mkdir()
        weights = np.array([[0, 0], [0.1, 0.3], [2, -1], [0, 0.5]], dtype=np.float32)
        nodes = [
            helper.make_node("Gather", ["weights", "input_ids"], ["tokens"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
            helper.make_node("Mul", ["tokens", "wide"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
        ]
        inputs = {name: ["rows", "tokens"] for name in ("input_ids", "attention_mask")}
        graph = helper.make_graph(
            nodes,
            "sum",
            [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 2])],
            [
                numpy_helper.from_array(weights, "weights"),
                numpy_helper.from_array(np.array([2]), "last"),
                numpy_helper.from_array(np.array([1]), "middle"),
            ],
        )
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "g.onnx"
        )
        tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "a": 1, "text": 2, "yours": 3}, "[UNK]"))
        tokenizer.pre_tokenizer = Whitespace()
        tokenizer.save(str(folder / "tokenizer.json"))
        runtime = OnnxRuntime(
            precision="fp32",
            graph="g.onnx",
            max_tokens=3,
            opset=18,
            producer="",
            inputs={name: list(shape) for name, shape in inputs.items()},
            outputs={"logits": ["rows", 2]},
        )
        bundle(runtime=runtime, calibration=calibration, normalizer=TextNormalizer()).write(folder)
        return folder

    return write


@pytest.mark.parametrize(
    ("calibration", "label"), [(Calibration(), "bad"), (Calibration(temperature=2.5, threshold=0.2), "good")]
)
def test_the_snippet_without_textgate_predicts_the_same_as_the_bundle(
    onnx_bundle: Callable[[Calibration], Path], calibration: Calibration, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = onnx_bundle(calibration)
    loaded = load_bundle(folder)
    runtime = loaded.bundle.runtime
    assert isinstance(runtime, OnnxRuntime)
    expected = loaded.predict_proba(["a text of yours"])
    snippet = re.sub(r"^```.*$", "", onnxruntime_snippet(loaded.bundle, runtime), flags=re.MULTILINE)
    monkeypatch.chdir(folder)
    output = StringIO()
    with redirect_stdout(output):
        exec(snippet, {})
    predicted, _, probabilities = output.getvalue().partition(" ")
    assert predicted == label == loaded.bundle.labels[calibration.predict(expected)[0]]
    assert eval(probabilities) == pytest.approx(dict(zip(LABELS, expected[0], strict=True)), abs=1e-12)
