"""Fit the family a recipe names, and write the result as a bundle."""

import math
from importlib.metadata import version
from pathlib import Path

from textgate.components.contracts import Dataset, InputError, ModelBundle, Training, new_folder
from textgate.components.families import FAMILIES, TrainingContext

_LIBRARIES = ("gensim", "numpy", "scikit-learn", "tokenizers", "torch", "transformers")


def train_bundle(
    dataset_folder: Path, name: str, training: Training, output: Path, context: TrainingContext
) -> ModelBundle:
    """Train on a preprocessed dataset.

    Raises:
        InputError: the dataset has not been preprocessed, the training diverged, or the family cannot use what it was
            given.
    """
    dataset = Dataset.open(dataset_folder)
    normalizer = dataset.normalizer  # refused before it is trained on, not after
    with new_folder(output) as folder:
        fitted = FAMILIES[training.family]().fit(dataset, training, folder, context)
        for metric, value in fitted.metrics.items():
            if not math.isfinite(value):
                raise InputError(f"the training diverged: {metric} is {value}; lower train.learning_rate")
        return ModelBundle(
            name=name,
            family=training.family,
            runtime=fitted.runtime,
            labels=dataset.manifest.labels,
            normalizer=normalizer,
            recipe={"train": training.model_dump(mode="json")},
            metrics=fitted.metrics,
            history=fitted.history,
            dataset=dataset.manifest.fingerprint,
            versions={library: version(library) for library in _LIBRARIES},
        ).write(folder)
