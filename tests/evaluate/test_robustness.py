"""What a perturbation costs is what scikit-learn says of the rows it changed, before and after."""

import numpy as np
import pytest
from evaluate.judged import Counted, train_linear
from sklearn.metrics import f1_score

from textgate.components.contracts import Dataset, EvaluateSettings, ModelBundle
from textgate.components.contracts.bundle import Calibration
from textgate.components.evaluate.perturbations import perturb
from textgate.components.evaluate.robustness import robustness
from textgate.components.evaluate.sample import draw
from textgate.components.inference import Predictor


@pytest.fixture(scope="module")
def judged(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelBundle, Predictor]:
    return train_linear(dataset, tmp_path_factory.mktemp("robustness") / "bundle")


def test_scores_are_of_the_rows_that_changed(dataset: Dataset, judged: tuple[ModelBundle, Predictor]) -> None:
    _, texts, classes = dataset.columns("test")
    bundle, predictor = judged
    counted = Counted(predictor)
    settings = EvaluateSettings(robustness=["homoglyphs", "typos"], robustness_texts=30, seed=5)
    found = robustness(counted, texts, classes, bundle.calibration, settings, 2)
    assert [one.perturbation for one in found] == ["homoglyphs", "typos"]
    assert len(counted.asked) == 3

    rows = draw(len(texts), 30, 5)
    assert counted.asked[0] == [texts[row] for row in rows]
    for one, asked in zip(found, counted.asked[1:], strict=True):
        written = {row: perturb(one.perturbation, texts[row], 5) for row in rows}
        changed = [row for row in rows if written[row] != texts[row]]
        assert asked == [written[row] for row in changed]
        truth = classes[changed]
        before, after = (
            bundle.calibration.classes(predictor.predict_proba([of[row] for row in changed])) for of in (texts, written)
        )
        assert one.rows == len(changed)
        assert one.changed == np.mean(before != after)
        assert one.f1_before.value == pytest.approx(f1_score(truth, before), abs=1e-12)
        assert one.f1.value == pytest.approx(f1_score(truth, after), abs=1e-12)
        assert one.f1_difference.value == pytest.approx(one.f1.value - one.f1_before.value, abs=1e-12)
        assert one.f1_difference.low <= one.f1_difference.value <= one.f1_difference.high
    # The label is a word of three or four letters of twelve at most: a letter of it is hit now and then.
    assert any(one.changed > 0 and one.f1.value < one.f1_before.value for one in found)


def test_answers_are_given_at_the_threshold_of_the_bundle(
    dataset: Dataset, judged: tuple[ModelBundle, Predictor]
) -> None:
    _, texts, classes = dataset.columns("test")
    settings = EvaluateSettings(robustness=["typos"])
    (one,) = robustness(judged[1], texts, classes, Calibration(threshold=0.0), settings, 2)
    # Whatever is written, the last label is answered.
    assert one.changed == 0
    assert one.f1.value == one.f1_before.value == pytest.approx(2 / 3, abs=0.02)


def test_what_changes_no_text_is_left_out_and_nothing_asked_asks_nothing(
    dataset: Dataset, judged: tuple[ModelBundle, Predictor], capsys: pytest.CaptureFixture[str]
) -> None:
    _, texts, classes = dataset.columns("test")
    bundle, predictor = judged
    assert robustness(predictor, texts, classes, bundle.calibration, EvaluateSettings(robustness=["synonyms"]), 2) == []
    assert capsys.readouterr().out == "robustness, synonyms: no text can be written otherwise\n"
    counted = Counted(predictor)
    assert robustness(counted, texts, classes, bundle.calibration, EvaluateSettings(robustness=[]), 2) == []
    assert counted.asked == []


def test_rows_are_drawn_by_the_seed_and_each_once() -> None:
    drawn = draw(1_000, 100, 3)
    assert len(set(drawn.tolist())) == 100
    assert drawn.tolist() == sorted(drawn.tolist())
    assert drawn.min() >= 0
    assert drawn.max() < 1_000
    assert (draw(1_000, 100, 3) == drawn).all()
    assert (draw(1_000, 100, 4) != drawn).any()
    assert draw(5, 100, 3).tolist() == [0, 1, 2, 3, 4]
    assert draw(5, 0, 3).tolist() == []
