"""Knowledge distillation: a student learns from the labels and from a teacher's probabilities.

Hinton et al., Distilling the Knowledge in a Neural Network (2015), section 2, arXiv:1503.02531.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import kl_div, log_softmax

from textgate.components.contracts import Dataset, Distillation, InputError, ModelBundle, Progress
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.families import open_predictor
from textgate.components.families.distributed import broadcast_from_main

_TEXTS_PER_CALL = 1024


def teacher_probabilities(
    dataset: Dataset, distillation: Distillation, bundles: Mapping[str, Path]
) -> npt.NDArray[np.float64]:
    """Return the teacher's probabilities for the split ``train``, at the distillation temperature.

    With several training processes, the main one predicts and the others receive the result.

    Args:
        dataset: Dataset of the student.
        distillation: The recipe's teacher and temperature.
        bundles: Local folder of each bundle that the recipe references.

    Returns:
        Probabilities (texts, labels), in the order of the split.

    Raises:
        InputError: If the teacher has other labels than the dataset, or needs a base model to predict.
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
            f"the teacher {distillation.teacher} is an adapter or head without its base {bundle.base_model}: use the "
            "merged or exported bundle of the same run"
        )
    probabilities = broadcast_from_main(lambda: _predict(dataset, folder, bundle))
    return apply_temperature(probabilities, distillation.temperature)


def _predict(dataset: Dataset, folder: Path, bundle: ModelBundle) -> npt.NDArray[np.float64]:
    _, texts, _ = dataset.columns("train")
    predictor, progress = open_predictor(folder, bundle), Progress(total=len(texts), unit="texts")
    probabilities = []
    for start in range(0, len(texts), _TEXTS_PER_CALL):
        chunk = texts[start : start + _TEXTS_PER_CALL]
        probabilities.append(predictor.predict_proba(chunk))
        progress.update(start + len(chunk), f"asking the teacher {bundle.name}")
    return np.concatenate(probabilities)


def distillation_loss(logits: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the KL divergence of the student from the teacher, summed over the batch and scaled by temperature².

    The temperature shrinks the gradients by its square, and the factor compensates for that.

    Args:
        logits: Student's logits (batch, labels).
        teacher: Teacher's probabilities (batch, labels) at ``temperature``.
        temperature: Divisor of the student's logits.
    """
    student = log_softmax(logits / temperature, dim=1)
    return temperature**2 * kl_div(student, teacher, reduction="sum")
