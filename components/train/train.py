"""Train the family that a recipe names, and write the result as a bundle."""

import math
from importlib.metadata import version
from pathlib import Path

from textgate.components.contracts import Dataset, InputError, ModelBundle, Training, new_folder
from textgate.components.families import FAMILIES, TrainingContext

_LIBRARIES = ("gensim", "numpy", "scikit-learn", "tokenizers", "torch", "transformers")


def train_bundle(
    dataset_folder: Path, name: str, training: Training, output: Path, context: TrainingContext
) -> ModelBundle:
    """Train on a preprocessed dataset and write a bundle.

    Args:
        dataset_folder: Folder of the dataset.
        name: Name of the recipe.
        training: Recipe section ``train``.
        output: Folder to write the bundle to; it must not exist.
        context: Local copies of what ``training`` names, checkpoints and logs.

    Returns:
        The manifest of the bundle.

    Raises:
        InputError: The dataset has not been preprocessed, the training diverged, or the family rejects its input.
    """
    dataset = Dataset.open(dataset_folder)
    normalizer = dataset.normalizer  # raises if the dataset has none; better before the training than after it
    with new_folder(output) as folder:
        result = FAMILIES[training.family]().fit(dataset, training, folder, context)
        for metric, value in result.metrics.items():
            if not math.isfinite(value):
                raise InputError(f"the training diverged: {metric} is {value}; lower train.learning_rate")
        return ModelBundle(
            name=name,
            family=training.family,
            runtime=result.runtime,
            labels=dataset.manifest.labels,
            normalizer=normalizer,
            recipe={"train": training.model_dump(mode="json")},
            metrics=result.metrics,
            history=result.history,
            dataset=dataset.manifest.fingerprint,
            versions={library: version(library) for library in _LIBRARIES},
        ).write(folder)
