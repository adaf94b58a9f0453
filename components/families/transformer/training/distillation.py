"""A teacher's probabilities on the training texts, from which a student learns beside the labels.

Hinton et al., Distilling the Knowledge in a Neural Network (2015), section 2, arXiv:1503.02531.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import kl_div, log_softmax

from textgate.components.contracts import Dataset, Distillation, InputError, ModelBundle, Progress
from textgate.components.contracts.bundle import calibrated
from textgate.components.families import open_predictor
from textgate.components.families.processes import made_by_one

_TEXTS_AT_ONCE = 1024


def ask_teacher(dataset: Dataset, distillation: Distillation, bundles: Mapping[str, Path]) -> npt.NDArray[np.float64]:
    """Probabilities (texts, labels) for the split ``train``, at the temperature at which they are learned.

    Of several processes that train together, one asks.

    Raises:
        InputError: the teacher answers with other labels than the dataset's, or not without a base.
    """
    folder = bundles[distillation.teacher]
    bundle, labels = ModelBundle.load(folder), dataset.manifest.labels
    if bundle.labels != labels:
        raise InputError(
            f"the teacher {distillation.teacher} answers {', '.join(bundle.labels)}, but the dataset has the labels "
            f"{', '.join(labels)}: take one that was trained on these"
        )
    if bundle.base_model:
        raise InputError(
            f"the teacher {distillation.teacher} is an adapter or head without its base {bundle.base_model}: take the "
            "bundle that was made whole of it, or the one that is served"
        )
    answers = made_by_one(lambda: _answers(dataset, folder, bundle))
    return calibrated(answers, distillation.temperature)


def _answers(dataset: Dataset, folder: Path, bundle: ModelBundle) -> npt.NDArray[np.float64]:
    _, texts, _ = dataset.columns("train")
    predictor, progress = open_predictor(folder, bundle), Progress(total=len(texts), unit="texts")
    answers = []
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        some = texts[start : start + _TEXTS_AT_ONCE]
        answers.append(predictor.predict(some))
        progress.update(start + len(some), f"asking the teacher {bundle.name}")
    return np.concatenate(answers)


def divergence(logits: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """What is lost by the student for the teacher, at the temperature, summed over the rows.

    ``logits`` (rows, labels) are the student's; ``teacher`` (rows, labels) has probabilities at that temperature. Its
    square makes up for the gradients, which the temperature makes smaller by as much.
    """
    student = log_softmax(logits / temperature, dim=1)
    return temperature**2 * kl_div(student, teacher, reduction="sum")
