"""Labels, scores and truncation of predictions."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from words import write_words

from textgate.components.contracts import Calibration, ModelBundle
from textgate.components.inference import (
    CalibratedPredictor,
    LoadedBundle,
    PartialPrediction,
    StreamingPredictor,
    classify,
    load_bundle,
)

PROBABILITIES = np.array([[0.875, 0.125], [0.625, 0.375], [0.25, 0.75]])


class Reversed:
    """Predictor of ``PROBABILITIES`` in one batch per text, the last text first; the second text is truncated."""

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        return PROBABILITIES[: len(texts)]

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        for row in reversed(range(len(texts))):
            yield PartialPrediction(np.array([row]), PROBABILITIES[[row]], np.array([row == 1]), tokens=3)


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    return ModelBundle.load(write_words(tmp_path / "words"))


def calibrated(bundle: ModelBundle, temperature: float, threshold: float | None) -> ModelBundle:
    return bundle.model_copy(update={"calibration": Calibration(temperature=temperature, threshold=threshold)})


def test_a_prediction_has_label_score_probabilities_and_truncation(bundle: ModelBundle) -> None:
    no, yes = bundle.labels
    predictions = LoadedBundle(bundle, Reversed()).predict(["a", "b", "c"])
    assert [(found.text, found.label, found.truncated) for found in predictions] == [
        ("a", no, False),
        ("b", no, True),
        ("c", yes, False),
    ]
    assert [found.score for found in predictions] == pytest.approx([0.875, 0.625, 0.75])
    assert predictions[1].probabilities == pytest.approx({no: 0.625, yes: 0.375})
    assert LoadedBundle(bundle, Reversed()).predict([]) == []


def test_temperature_and_threshold_are_applied(bundle: ModelBundle) -> None:
    no, yes = bundle.labels
    loaded = LoadedBundle(calibrated(bundle, temperature=0.5, threshold=0.25), Reversed())
    predictions = loaded.predict(["a", "b", "c"])
    assert [prediction.label for prediction in predictions] == [no, yes, yes]
    assert [prediction.score for prediction in predictions] == pytest.approx([49 / 50, 9 / 34, 9 / 10])
    rows = [list(prediction.probabilities.values()) for prediction in predictions]
    np.testing.assert_array_equal(rows, loaded.predict_proba(["a", "b", "c"]))


def test_a_predictor_that_does_not_stream_reports_no_truncation(bundle: ModelBundle) -> None:
    predictor = CalibratedPredictor(Reversed(), 1.0)
    assert not isinstance(predictor, StreamingPredictor)
    expected = LoadedBundle(bundle, Reversed()).predict(["a", "b", "c"])
    for found, same in zip(classify(predictor, bundle, ["a", "b", "c"]), expected, strict=True):
        assert (found.label, found.probabilities) == (same.label, pytest.approx(same.probabilities))
        assert found.truncated is None


def test_a_loaded_bundle_predicts(tmp_path: Path) -> None:
    loaded = load_bundle(write_words(tmp_path / "words"))
    assert isinstance(loaded, StreamingPredictor)
    for prediction, row in zip(loaded.predict(["good", ""]), loaded.predict_proba(["good", ""]), strict=True):
        assert prediction.score == row.max()
        assert prediction.label == loaded.bundle.labels[row.argmax()]
        assert prediction.truncated is False
