"""Train the family that a recipe names, and write the result as a bundle."""

import math
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from textgate.components.contracts import Dataset, InputError, ModelBundle, Training, new_folder
from textgate.components.contracts.text_keys import Keys, read_trained_on, write_trained_on
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
        keys = _trained_on(dataset, context.bundles.values())
        if keys is not None:
            write_trained_on(folder, keys)
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


def _trained_on(dataset: Dataset, bundles: Iterable[Path]) -> Keys | None:
    """Return the keys of the texts that a model, its members and its teacher were trained and validated on.

    Args:
        dataset: Dataset with the splits ``train`` and ``validation``.
        bundles: Folders of the members or the teacher.

    Returns:
        The keys; None if the rows of the dataset have no keys, or a bundle does not say what it was trained on.
    """
    keys = [dataset.keys("train"), dataset.keys("validation"), *map(read_trained_on, bundles)]
    known = [part for part in keys if part is not None]
    return np.concatenate(known) if len(known) == len(keys) else None
