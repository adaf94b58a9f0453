"""Whether answers hold when texts are written otherwise: the same rows before and after."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import EvaluateSettings
from textgate.components.contracts.bundle import Calibration
from textgate.components.contracts.evaluation import RobustnessResult
from textgate.components.evaluate.perturbations import perturb
from textgate.components.evaluate.sample import draw
from textgate.components.inference import Predictor
from textgate.components.metrics import f1_difference, f1_estimate


def robustness(
    predictor: Predictor,
    texts: Sequence[str],
    classes: npt.NDArray[np.int64],
    calibration: Calibration,
    settings: EvaluateSettings,
    labels: int,
) -> list[RobustnessResult]:
    """What each perturbation of ``settings.robustness`` costs on rows drawn from ``texts``, whose truth is ``classes``.

    One that changes none of the texts, such as synonyms in a language it has none of, is left out.
    """
    if not settings.robustness:
        return []
    rows = draw(len(texts), settings.robustness_texts, settings.seed)
    drawn = [texts[row] for row in rows]
    answers = calibration.classes(predictor.predict_proba(drawn))
    found = []
    for name in settings.robustness:
        written = [perturb(name, text, settings.seed) for text in drawn]
        changed = np.array([row for row, text in enumerate(drawn) if written[row] != text], dtype=np.int64)
        if not len(changed):
            print(f"robustness, {name}: no text can be written otherwise", flush=True)
            continue
        otherwise = calibration.classes(predictor.predict_proba([written[row] for row in changed]))
        truth, before = classes[rows[changed]], answers[changed]
        found.append(
            RobustnessResult(
                perturbation=name,
                rows=len(changed),
                changed=float(np.mean(otherwise != before)),
                f1_before=f1_estimate(truth, before, labels),
                f1=f1_estimate(truth, otherwise, labels),
                f1_difference=f1_difference(truth, otherwise, before, labels),
            )
        )
        print(f"robustness, {name}: F1 {found[-1].f1_before} to {found[-1].f1} on {len(changed):,} texts", flush=True)
    return found
