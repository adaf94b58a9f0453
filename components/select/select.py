"""Choose the best model of a sweep by its score on the validation split."""

import shutil
from pathlib import Path
from typing import Any

from textgate.components.contracts import (
    Candidate,
    Candidates,
    ConflictError,
    InputError,
    ModelBundle,
    new_folder,
    write_file,
)
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.contracts.metric_names import GateMetric


def select_best(
    models: list[Path], settings: list[dict[str, Any]], metric: GateMetric, output: Path, table: Path
) -> int:
    """Copy the bundle with the best validation score to ``output``, and write a table of all scores.

    Args:
        models: Folders of the bundles, in the order of the sweep.
        settings: Swept settings of each model, by dotted recipe key.
        metric: Metric that chooses.
        output: Folder to copy the best bundle to.
        table: File to write the scores to, as JSON (``Candidates``).

    Returns:
        Index of the best model; the first of equal ones.

    Raises:
        InputError: A bundle is damaged, or the metric is not defined on the validation split.
        ConflictError: The chosen bundle changes while it is copied.
        ValueError: A model was trained with other settings than those at its index.
    """
    bundles = [ModelBundle.parse((folder / MANIFEST).read_bytes(), str(folder / MANIFEST)) for folder in models]
    for bundle, swept in zip(bundles, settings, strict=True):
        for key in swept:
            if key.startswith("train") and setting(bundle.recipe, key) != swept[key]:
                raise ValueError(f"the model for {swept} was trained with {key} = {setting(bundle.recipe, key)}")
    try:
        scores = [bundle.metrics[f"validation_{metric}"] for bundle in bundles]
    except KeyError:
        raise InputError(
            f"the sweep cannot choose by {metric}, because a label has no text in the validation split: choose another "
            "metric in gate.metric"
        ) from None
    best = scores.index(max(scores))
    ModelBundle.load(models[best])
    with new_folder(output) as folder:
        shutil.copytree(models[best], folder, dirs_exist_ok=True)
        if ModelBundle.load(folder) != bundles[best]:
            raise ConflictError(f"the bundle {models[best]} was changed while it was copied: run again")
    candidates = [
        Candidate(settings=swept, metric=metric, score=score, chosen=index == best)
        for index, (swept, score) in enumerate(zip(settings, scores, strict=True))
    ]
    write_file(table, Candidates.dump_json(candidates, indent=2) + b"\n")
    return best


def setting(recipe: dict[str, Any], key: str) -> Any:
    """Return the value of a dotted key, such as ``train.C``, in a recipe."""
    value: Any = recipe
    for part in key.split("."):
        value = value[part]
    return value
