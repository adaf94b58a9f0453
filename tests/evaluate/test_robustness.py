"""The cost of a perturbation equals scikit-learn's scores on the changed rows, before and after."""

import numpy as np
import pytest
from evaluate.predictors import RecordingPredictor, train_linear
from sklearn.metrics import f1_score

from textgate.components.contracts import Dataset, EvaluateSettings, ModelBundle
from textgate.components.contracts.bundle import Calibration
from textgate.components.contracts.sampling import sample_rows
from textgate.components.evaluate.perturbations import perturb
from textgate.components.evaluate.robustness import measure_robustness
from textgate.components.inference import Predictor


@pytest.fixture(scope="module")
def linear(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelBundle, Predictor]:
    return train_linear(dataset, tmp_path_factory.mktemp("robustness") / "bundle")


def test_the_scores_are_those_of_the_changed_rows(dataset: Dataset, linear: tuple[ModelBundle, Predictor]) -> None:
    _, texts, classes = dataset.columns("test")
    bundle, predictor = linear
    recording = RecordingPredictor(predictor)
    settings = EvaluateSettings(robustness=["homoglyphs", "typos"], robustness_texts=30, seed=5)
    found = measure_robustness(recording, texts, classes, bundle.calibration, settings)
    assert [result.perturbation for result in found] == ["homoglyphs", "typos"]
    assert len(recording.calls) == 3

    rows = sample_rows(len(texts), 30, 5)
    assert recording.calls[0] == [texts[row] for row in rows]
    for result, perturbed_texts in zip(found, recording.calls[1:], strict=True):
        perturbed = {row: perturb(result.perturbation, texts[row], 5) for row in rows}
        changed = [row for row in rows if perturbed[row] != texts[row]]
        assert perturbed_texts == [perturbed[row] for row in changed]
        truth = classes[changed]
        before, after = (
            bundle.calibration.predict(predictor.predict_proba([of[row] for row in changed]))
            for of in (texts, perturbed)
        )
        assert result.rows == len(changed)
        assert result.changed == np.mean(before != after)
        assert result.f1_before.value == pytest.approx(f1_score(truth, before), abs=1e-12)
        assert result.f1.value == pytest.approx(f1_score(truth, after), abs=1e-12)
        assert result.f1_difference.value == pytest.approx(result.f1.value - result.f1_before.value, abs=1e-12)
        assert result.f1_difference.low <= result.f1_difference.value <= result.f1_difference.high
    # The label is a word of three or four letters among twelve at most: sometimes one of its letters changes.
    assert any(result.changed > 0 and result.f1.value < result.f1_before.value for result in found)


def test_classes_are_predicted_at_the_threshold_of_the_bundle(
    dataset: Dataset, linear: tuple[ModelBundle, Predictor]
) -> None:
    _, texts, classes = dataset.columns("test")
    settings = EvaluateSettings(robustness=["typos"])
    (result,) = measure_robustness(linear[1], texts, classes, Calibration(threshold=0.0), settings)
    # At threshold 0 the last label is always predicted.
    assert result.changed == 0
    assert result.f1.value == result.f1_before.value == pytest.approx(2 / 3, abs=0.02)


def test_a_perturbation_that_changes_no_text_is_left_out_and_without_perturbations_nothing_is_predicted(
    dataset: Dataset, linear: tuple[ModelBundle, Predictor], capsys: pytest.CaptureFixture[str]
) -> None:
    _, texts, classes = dataset.columns("test")
    bundle, predictor = linear
    assert (
        measure_robustness(predictor, texts, classes, bundle.calibration, EvaluateSettings(robustness=["synonyms"]))
        == []
    )
    assert capsys.readouterr().out == "robustness, synonyms: changes no text\n"
    recording = RecordingPredictor(predictor)
    assert measure_robustness(recording, texts, classes, bundle.calibration, EvaluateSettings(robustness=[])) == []
    assert recording.calls == []


def test_a_perturbation_that_changes_only_texts_of_one_class_has_no_f1(
    dataset: Dataset, linear: tuple[ModelBundle, Predictor], capsys: pytest.CaptureFixture[str]
) -> None:
    _, texts, classes = dataset.columns("test")
    bundle, predictor = linear
    # Digits have no case.
    texts = [text if label else "1 2 3" for text, label in zip(texts, classes, strict=True)]
    assert (
        measure_robustness(predictor, texts, classes, bundle.calibration, EvaluateSettings(robustness=["case"])) == []
    )
    assert "robustness, case: no F1, because it changes only texts of one class (" in capsys.readouterr().out


def test_rows_are_sampled_by_the_seed_and_without_replacement() -> None:
    sample = sample_rows(1_000, 100, 3)
    assert len(set(sample.tolist())) == 100
    assert sample.tolist() == sorted(sample.tolist())
    assert sample.min() >= 0
    assert sample.max() < 1_000
    assert (sample_rows(1_000, 100, 3) == sample).all()
    assert (sample_rows(1_000, 100, 4) != sample).any()
    assert sample_rows(5, 100, 3).tolist() == [0, 1, 2, 3, 4]
    assert sample_rows(5, 0, 3).tolist() == []
