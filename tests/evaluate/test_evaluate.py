"""The evaluation of a bundle: the decision threshold of the recipe, the TF-IDF baseline, the validation score."""

from pathlib import Path

import numpy as np
import pytest
from words import write_words

from textgate.components.contracts import (
    Dataset,
    EvaluateSettings,
    Export,
    Gate,
    ModelBundle,
    Row,
    TextNormalizer,
    dataset_writer,
)
from textgate.components.evaluate.baselines import tfidf_baseline
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.gate.rules import judge_trained

LABELS = ["bad", "good"]
SPLITS = {"train": 400, "validation": 400, "test": 400}


def write_dataset(folder: Path, labels: list[str] = LABELS) -> Path:
    """Write texts whose class is told by one word; the "good" ones, a fifth, often have the word "bad" as well."""
    rng = np.random.default_rng(13)
    with dataset_writer(folder, SPLITS) as writer:
        for split, rows in SPLITS.items():
            for index in range(rows):
                good = index % 5 == 0
                words = ["good", "bad", "bad"][: 3 if rng.random() < 0.7 else 1] if good else ["bad"] * (1 + index % 2)
                noise = rng.choice([f"word{number}" for number in range(50)], 3).tolist()
                words += [*(["good"] if not good and rng.random() < 0.05 else []), *noise, f"n{split}{index}"]
                writer.add(split, Row(f"{split}.csv:{index}", " ".join(words), LABELS[good]))
        writer.finish("<source>", labels, normalizer=TextNormalizer())
    return folder


def write_bundle(folder: Path) -> Path:
    bundle = ModelBundle.load(write_words(folder, weight=3.0))
    metrics = {"validation_f1": 0.5, "validation_accuracy": 0.75, "terms": 2.0}
    bundle.model_copy(update={"metrics": metrics, "files": {}}).write(folder)
    return folder


def test_the_trained_model_is_judged_with_the_threshold_that_the_served_one_will_have(tmp_path: Path) -> None:
    dataset, bundle = write_dataset(tmp_path / "dataset"), write_bundle(tmp_path / "bundle")
    without = evaluate_bundle(dataset, bundle, tmp_path / "without", export=Export())
    fitted = evaluate_bundle(dataset, bundle, tmp_path / "with", export=Export(threshold="f1"))
    assert without.manifest.calibration.threshold is None
    threshold = fitted.manifest.calibration.threshold
    assert threshold is not None
    assert threshold < 0.5
    assert fitted.manifest.f1.value > without.manifest.f1.value + 0.1
    assert np.array_equal(fitted.predicted, (fitted.probabilities[:, 1] >= threshold).astype(np.int64))
    gate = Gate(min_f1=(fitted.manifest.f1.value + without.manifest.f1.value) / 2)
    assert [judge_trained(each, gate).passed for each in (without, fitted)] == [False, True]


def test_the_baseline_is_scored_on_the_same_split_and_computed_for_the_trained_model_only(tmp_path: Path) -> None:
    dataset, bundle = write_dataset(tmp_path / "dataset"), write_bundle(tmp_path / "bundle")
    settings = EvaluateSettings(baseline_texts=300, map_texts=0)
    manifest = evaluate_bundle(dataset, bundle, tmp_path / "trained", settings.for_trained_model).manifest
    assert manifest.baseline is not None
    assert manifest.baseline.train_rows == 300
    assert manifest.baseline.metrics.keys() == manifest.metrics.keys()
    assert manifest.baseline.metrics["f1"].value > 0.8
    assert settings.for_served_model.baseline_texts == 0
    # The trained systems of a comparison have no baseline; it is computed with the winner's served model.
    winner = evaluate_bundle(dataset, bundle, tmp_path / "winner", settings.for_winner).manifest
    assert winner.baseline == manifest.baseline
    again = evaluate_bundle(dataset, bundle, tmp_path / "again", settings.for_trained_model).manifest
    assert again.baseline == manifest.baseline


@pytest.mark.parametrize("broken", ["one label", "no word"])
def test_there_is_no_baseline_where_none_can_be_fitted(broken: str, tmp_path: Path) -> None:
    with dataset_writer(tmp_path / "dataset", ["train"]) as writer:
        for index in range(4):
            label = "bad" if broken == "one label" else LABELS[index % 2]
            writer.add("train", Row(str(index), "!?" if broken == "no word" else "a word", label))
        writer.finish("<source>", LABELS, normalizer=TextNormalizer())
    dataset = Dataset.open(tmp_path / "dataset")
    assert tfidf_baseline(dataset, ["a"], np.zeros(1, dtype=np.int64), train_texts=10, seed=1) is None


def test_the_validation_score_goes_with_the_evaluation(tmp_path: Path) -> None:
    dataset, bundle = write_dataset(tmp_path / "dataset"), write_bundle(tmp_path / "bundle")
    manifest = evaluate_bundle(dataset, bundle, tmp_path / "evaluation").manifest
    assert manifest.validation == {"f1": 0.5, "accuracy": 0.75}
    # The validation split of another dataset is not that of the training.
    assert manifest.validation_rows is None
    trained = ModelBundle.load(bundle).model_copy(update={"dataset": manifest.dataset, "files": {}})
    trained.write(bundle)
    assert evaluate_bundle(dataset, bundle, tmp_path / "again").manifest.validation_rows == SPLITS["validation"]
