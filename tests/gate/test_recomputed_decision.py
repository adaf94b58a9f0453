"""Every number of whole decisions, recomputed from the artifacts of a run with scikit-learn and scipy only.

Tolerances: 1e-6 for values and intervals, also for those whose variances are numerical derivatives; a quarter of a
standard error, four times the error of 2,000 draws, for the ends of bootstrap intervals; numbers in sentences are
rounded to 4 decimals.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from gate.recomputation import (
    POWER_Z,
    Interval,
    Z,
    area_difference,
    class_interval,
    constant_answer,
    difference,
    estimate,
    mid_p,
    numbers,
    plain,
    score,
)
from gate.run_steps import QUICK, recipe, run
from scipy.optimize import minimize_scalar
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from textgate.components.contracts import ModelBundle
from textgate.components.families import open_predictor
from textgate.components.storage import Store

CLOSE = {"rel": 1e-6, "abs": 1e-6}
GATE_METRICS = ("f1", "macro_f1", "weighted_f1", "accuracy", "mcc", "pr_auc")


class Predictions:
    """Predictions of one model on the test split, as the evaluation step stores them."""

    def __init__(self, folder: Path) -> None:
        self.manifest = json.loads((folder / "evaluation.json").read_text())
        table = pq.read_table(folder / "predictions.parquet").to_pydict()
        self.labels: list[str] = self.manifest["labels"]
        self.texts: list[str] = table["text"]
        self.truth = np.array([self.labels.index(label) for label in table["label"]])
        self.predicted = np.array([self.labels.index(label) for label in table["predicted"]])
        self.probabilities = np.array(table["probabilities"])

    @property
    def most_probable(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    @cache  # noqa: B019
    def estimate(self, metric: str) -> Interval:
        return estimate(metric, self.truth, self.predicted, self.probabilities)


def texts(dataset: Path, split: str) -> tuple[list[str], list[str]]:
    table = pq.read_table(dataset / split).to_pydict()
    return table["text"], table["label"]


def write_corpus(path: Path, labels: list[str], words: int, rows: int, prior: list[float]) -> Path:
    """Write texts whose label depends on their words and on chance, and copies of some of them."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(words, len(labels)))
    lines = []
    for index in range(rows):
        chosen = rng.integers(0, words, size=10)
        logits = 0.8 * weights[chosen].sum(axis=0) + np.log(prior)
        label = labels[int(np.argmax(logits + rng.gumbel(size=len(labels))))]
        text = " ".join(f"word{word}" for word in chosen)
        lines.append({"text": text, "label": label})
        if index % 20 == 0:
            lines.append({"text": f"{text.upper()}!", "label": label})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


LINEAR = {"family": "linear", "min_df": 1}
BASELINE_TEXTS = 300
EVERYTHING = {
    "min": dict.fromkeys(GATE_METRICS, 0.05),
    "margin": 0.02,
    "on": "lower",
}


@pytest.fixture
def runs(request: pytest.FixtureRequest, store: Store, tmp_path: Path, tiny_encoder: Path) -> tuple[Path, Path]:
    """Folders of two runs of one model: the first becomes champion, the second is judged against it."""
    if request.param == "threshold of two labels":
        data = write_corpus(tmp_path / "data.jsonl", ["bad", "good"], 150, 1_500, [0.85, 0.15])
        floors = {"min_recall": {"good": 0.3}, "min_precision": {"bad": 0.5}}
        settings: list[dict[str, Any]] = [
            {"train": {**LINEAR, "C": 10}, "preprocess": {"test": 0.2, "validation": 0.3, "seed": 14}},
            {"train": {**LINEAR, "C": 1}, "preprocess": {"test": 0.2, "validation": 0.3}},
        ]
        common: dict[str, Any] = {
            "export": {"threshold": "f1"},
            "gate": {**EVERYTHING, **floors, "beats_baseline": True},
        }
    else:
        data = write_corpus(tmp_path / "data.jsonl", ["a", "b", "c"], 60, 1_500, [0.5, 0.3, 0.2])
        encoder = {"family": "transformer", "base_model": str(tiny_encoder), "max_tokens": 32, "epochs": 6}
        encoder |= {"learning_rate": 3e-3, "precision": "fp32", "batch_size": 32}
        settings = [
            {"train": LINEAR, "preprocess": {"test": 0.2, "seed": 14}},
            {"train": encoder, "preprocess": {"test": 0.2}},
        ]
        common = {"export": {"max_f1_loss": 0.5, "min_agreement": 0.1}, "gate": {**EVERYTHING, "metric": "pr_auc"}}
    quick = QUICK.model_copy(update={"baseline_texts": BASELINE_TEXTS})
    folders = tmp_path / "first", tmp_path / "second"
    for folder, sections in zip(folders, settings, strict=True):
        run(recipe(data, evaluate=quick, **common, **sections), folder, store)
    return folders


@pytest.mark.parametrize("runs", ["threshold of two labels", "quantized model of three labels"], indirect=True)
def test_every_number_of_a_decision_is_that_of_scikit_learn_and_scipy(runs: tuple[Path, Path]) -> None:
    champion, candidate = runs
    trained, served = (Predictions(candidate / f"evaluation-{name}") for name in ("trained", "served"))
    metric = json.loads((candidate / "decision-served").read_text())["score"]["metric"]
    baseline = fit_baseline(candidate / "dataset", trained, metric)
    for gate, judged in (("trained", trained), ("served", served)):
        decision = json.loads((candidate / f"decision-{gate}").read_text())
        check_score(decision["score"], judged, baseline, candidate)
        expected = dict(score_rules(judged, metric, baseline))
        if gate == "served":
            expected |= dict(served_rules(trained, served, champion, candidate, metric))
        for rule in decision["rules"]:
            check_rule(rule, *expected.pop(rule["name"]), decision["champion"])
        assert expected == {}
        check_other_metrics(judged)
    assert ModelBundle.load(champion / "served").fingerprint != ModelBundle.load(candidate / "served").fingerprint
    for folder in runs:
        check_calibration(folder)


def check_estimate(found: dict[str, Any], expected: Interval, drawn: bool) -> None:
    tolerance = {"rel": 0, "abs": expected.error / 4} if drawn else CLOSE
    assert found["value"] == pytest.approx(expected.value, **CLOSE)
    assert [found["low"], found["high"]] == pytest.approx([expected.low, expected.high], **tolerance)


def check_rule(rule: dict[str, Any], expected: Interval | None, drawn: bool, words: list[float], version: str) -> None:
    """Compare the estimate of a rule, and each number of its sentence, in order."""
    assert (rule["value"] is None) == (expected is None), rule
    if expected is not None:
        check_estimate(rule["value"], expected, drawn)
    found = numbers(rule["words"].replace(version or "no champion", "champion"))
    tolerance = expected.error / 4 if drawn and expected else 0
    assert found == pytest.approx(words, rel=1e-6, abs=5.1e-5 + tolerance), rule


def fit_baseline(dataset: Path, judged: Predictions, metric: str) -> Interval:
    """Fit TF-IDF and logistic regression with scikit-learn; return its score on the test split."""
    train, labels = texts(dataset, "train")
    rows = np.sort(np.random.default_rng(13).choice(len(train), BASELINE_TEXTS, replace=False))
    train, classes = [train[row] for row in rows], [judged.labels.index(labels[row]) for row in rows]
    words = {"ngram_range": (1, 2), "max_features": 50_000, "sublinear_tf": True, "token_pattern": r"(?u)\b\w+\b"}
    vectorizer = TfidfVectorizer(**words)
    model = LogisticRegression(C=10, class_weight="balanced").fit(vectorizer.fit_transform(train), classes)
    probabilities = model.predict_proba(vectorizer.transform(judged.texts))
    return estimate(metric, judged.truth, probabilities.argmax(axis=1), probabilities)


def check_score(found: dict[str, Any], judged: Predictions, baseline: Interval, folder: Path) -> None:
    """Check ``score`` of a decision."""
    metric = found["metric"]
    check_estimate(found["value"], judged.estimate(metric), drawn=False)
    check_estimate(found["baseline"], baseline, drawn=False)
    label, constant = constant_answer(metric, judged.truth, len(judged.labels))
    assert (found["rows"], found["constant_label"]) == (len(judged.texts), judged.labels[label])
    assert found["constant"] == pytest.approx(constant)
    bundle = ModelBundle.load(folder / "trained")
    validation, labels = texts(folder / "dataset", "validation")
    probabilities = np.asarray(open_predictor(folder / "trained", bundle).predict_proba(validation))
    truth = np.array([judged.labels.index(label) for label in labels])
    expected = estimate(metric, truth, probabilities.argmax(axis=1), probabilities)
    assert found["validation"] == pytest.approx(expected.value)
    check_gap(found["gap"], expected.value, len(validation), Predictions(folder / "evaluation-trained"), metric)


def check_gap(found: dict[str, Any], validation: float, rows: int, trained: Predictions, metric: str) -> None:
    """Check the validation score minus the test score of the trained model by its most probable class (MOVER)."""
    test = estimate(metric, trained.truth, trained.probabilities.argmax(axis=1), trained.probabilities)
    gap, ratio = validation - test.value, len(trained.texts) / rows
    below, above = test.value - test.low, test.high - test.value
    ends = gap - np.hypot(below * ratio**0.5, above), gap + np.hypot(above * ratio**0.5, below)
    assert (found["value"], found["low"], found["high"]) == pytest.approx((gap, *ends), **CLOSE)


Expected = tuple[str, tuple[Interval | None, bool, list[float]]]
"""Name of a rule, its estimate, whether this is drawn at random, and the numbers of its sentence."""


def score_rules(judged: Predictions, metric: str, baseline: Interval) -> Iterator[Expected]:
    rows = len(judged.texts)
    for name in GATE_METRICS:
        value = judged.estimate(name)
        yield f"min_{name}", (value, False, [*value, rows, 0.05])
    for name, label, floor in (("recall", "good", 0.3), ("precision", "bad", 0.5)):
        if label in judged.labels:
            index = judged.labels.index(label)
            value = class_interval(name, judged.truth, judged.predicted, index)
            yield f"min_{name}.{label}", (value, False, [*value, rows, int(np.sum(judged.truth == index)), floor])
    yield "min_test_rows", (None, False, [rows, 20])
    value, (_, constant) = judged.estimate(metric), constant_answer(metric, judged.truth, len(judged.labels))
    yield "beats_constant", (value, False, [*value, rows, constant])
    if len(judged.labels) == 2:
        yield "beats_baseline", (value, False, [*value, rows, *baseline])


def served_rules(
    trained: Predictions, served: Predictions, champion: Path, candidate: Path, metric: str
) -> Iterator[Expected]:
    rows, classes = len(served.texts), len(served.labels)
    export = json.loads((candidate / "measurements").read_text())
    agreement = mid_p(int(np.sum(served.most_probable == trained.most_probable)), rows)
    yield "min_agreement", (agreement, False, [round(100 * agreement.value, 2), rows, 100 * export["min_agreement"]])
    loss = difference("f1", served.truth, served.most_probable, trained.most_probable, classes)
    yield "export_loss", (loss, True, [*loss, rows, export["max_f1_loss"]])

    learned = [known_texts(folder / "dataset") for folder in (champion, candidate)]
    keys = [plain(text) for text in served.texts]
    own = sum(key in learned[1] for key in keys)
    yield "held_out", (None, False, [own, rows, rows - len(set(keys))])
    unseen = np.array([key not in learned[0] | learned[1] for key in keys])
    assert 0 < unseen.sum() < rows / 2

    probabilities, predicted = champion_predictions(champion / "served", served)
    if metric == "pr_auc":
        compared = area_difference(served.truth[unseen], served.probabilities[unseen], probabilities[unseen])
    else:
        compared = difference(metric, served.truth[unseen], served.predicted[unseen], predicted[unseen], classes)
    margin = (compared.value - compared.low) * (1 + POWER_Z / Z)
    words = [*compared, 95, 0.02, unseen.sum(), rows, 80, margin]
    yield "margin", (compared, metric != "pr_auc", words)
    yield "endpoint", (None, False, [])


def known_texts(dataset: Path) -> set[str]:
    return {plain(text) for split in ("train", "validation") for text in texts(dataset, split)[0]}


def champion_predictions(folder: Path, served: Predictions) -> tuple[np.ndarray, np.ndarray]:
    bundle = ModelBundle.load(folder)
    assert bundle.labels == served.labels
    probabilities = np.asarray(open_predictor(folder, bundle).predict_proba(served.texts))
    threshold = bundle.calibration.threshold
    return probabilities, (
        probabilities.argmax(axis=1) if threshold is None else (probabilities[:, 1] >= threshold).astype(int)
    )


def check_other_metrics(judged: Predictions) -> None:
    """Check what ``evaluation.json`` says beyond the rules: the values of the other metrics."""
    metrics, truth, probabilities = judged.manifest["metrics"], judged.truth, judged.probabilities
    two = len(judged.labels) == 2
    for name in ("precision", "recall"):
        expected = score(name, truth, judged.predicted, len(judged.labels))
        assert metrics[name]["value"] == pytest.approx(expected, **CLOSE)
    of_class = probabilities[:, 1] if two else probabilities
    assert metrics["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, of_class, multi_class="ovr"), **CLOSE)
    assert metrics["log_loss"]["value"] == pytest.approx(log_loss(truth, probabilities), **CLOSE)
    confidence, correct = probabilities.max(axis=1), judged.most_probable == truth
    bins = np.minimum(np.floor(15 * confidence), 14)
    gaps = [abs(float(np.sum(correct[bins == b] - confidence[bins == b]))) for b in range(15)]
    assert metrics["calibration_error"]["value"] == pytest.approx(sum(gaps) / len(truth), **CLOSE)


def check_calibration(folder: Path) -> None:
    """Fit temperature and threshold of the served bundle again, on the validation split."""
    bundle = ModelBundle.load(folder / "served")
    validation, labels = texts(folder / "dataset", "validation")
    truth = np.array([bundle.labels.index(label) for label in labels])
    calibrated = np.asarray(open_predictor(folder / "served", bundle).predict_proba(validation))
    logits = bundle.calibration.temperature * np.log(calibrated)
    targets = np.full(logits.shape, 1 / (len(truth) + 2) / (len(bundle.labels) - 1))
    targets[np.arange(len(truth)), truth] = (len(truth) + 1) / (len(truth) + 2)

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        return float(np.sum(targets * (np.log(np.exp(scaled).sum(axis=1, keepdims=True)) - scaled)))

    temperature = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-6}).x
    assert bundle.calibration.temperature == pytest.approx(temperature, rel=0.006)  # three digits are kept
    if len(bundle.labels) > 2:
        assert bundle.calibration.threshold is None
        return

    def best_threshold(rows: np.ndarray) -> float:
        """Return the threshold with the highest F1, half-way between two scores and nearest to 0.5."""
        found = np.unique(calibrated[rows, 1])
        middles = np.append(0, (found[1:] + found[:-1]) / 2) if len(found) > 1 else found
        middles[0] = found[0] / 2
        predicted = calibrated[rows, 1] >= middles[:, None]
        f1 = 2 * (predicted & (truth[rows] == 1)).sum(axis=1) / (predicted.sum(axis=1) + truth[rows].sum())
        best = middles[f1 >= f1.max() - 1e-12]
        return float(best[np.argmin(np.abs(best - 0.5))])

    fold, crossed = np.random.default_rng(13).permutation(len(truth)) % 10, np.zeros(len(truth), dtype=int)
    for index in range(10):
        crossed[fold == index] = calibrated[fold == index, 1] >= best_threshold(fold != index)
    gain = difference("f1", truth, crossed, calibrated.argmax(axis=1), 2)
    if bundle.calibration.threshold is None:
        assert gain.low < gain.error / 4
        return
    assert gain.low > -gain.error / 4
    assert bundle.calibration.threshold == pytest.approx(best_threshold(fold >= 0), abs=5.1e-5)
