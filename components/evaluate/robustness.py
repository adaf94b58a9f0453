"""Robustness of predictions to perturbed texts, on the same rows before and after."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Calibration, EvaluateSettings
from textgate.components.contracts.evaluation import RobustnessResult
from textgate.components.contracts.sampling import sample_rows
from textgate.components.evaluate.perturbations import perturb
from textgate.components.evaluate.sample_f1 import sample_f1, sample_f1_difference
from textgate.components.inference import Predictor


def measure_robustness(
    predictor: Predictor,
    texts: Sequence[str],
    truth: npt.NDArray[np.int64],
    calibration: Calibration,
    settings: EvaluateSettings,
) -> list[RobustnessResult]:
    """Return the F1 before and after each perturbation of ``settings.robustness``, on a sample of the texts.

    F1 is that of ``sample_f1``: with more than two classes, the mean over the classes of the changed texts. A
    perturbation that changes no text, such as English synonyms in texts of another language, or only texts of one class
    is left out.

    Args:
        predictor: Predictor of the bundle.
        texts: Texts of the split.
        truth: Index of the true class per text, (n,) int64.
        calibration: Calibration of the bundle, which turns probabilities into classes.
        settings: Perturbations, size of the sample and seed.
    """
    if not settings.robustness:
        return []
    rows = sample_rows(len(texts), settings.robustness_texts, settings.seed)
    sample = [texts[row] for row in rows]
    probabilities = predictor.predict_proba(sample)
    predicted, labels = calibration.predict(probabilities), probabilities.shape[1]
    results = []
    for name in settings.robustness:
        perturbed = [perturb(name, text, settings.seed) for text in sample]
        changed = np.array([index for index, text in enumerate(sample) if perturbed[index] != text], dtype=np.int64)
        if not len(changed):
            print(f"robustness, {name}: changes no text", flush=True)
            continue
        after = calibration.predict(predictor.predict_proba([perturbed[index] for index in changed]))
        before, expected = predicted[changed], truth[rows[changed]]
        f1_before, f1 = (sample_f1(expected, answers, labels) for answers in (before, after))
        difference = sample_f1_difference(expected, after, before, labels)
        if f1_before is None or f1 is None or difference is None:
            print(
                f"robustness, {name}: no F1, because it changes only texts of one class ({len(changed):,})", flush=True
            )
            continue
        result = RobustnessResult(
            perturbation=name,
            rows=len(changed),
            changed=float(np.mean(after != before)),
            f1_before=f1_before,
            f1=f1,
            f1_difference=difference,
        )
        results.append(result)
        print(f"robustness, {name}: F1 {result.f1_before} to {result.f1} on {len(changed):,} texts", flush=True)
    return results
