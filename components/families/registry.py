"""The registry of model families.

A family is a module that implements ``Family``. Its loader imports it when a recipe or a bundle names it, so a linear
recipe never waits for torch.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from textgate.components.contracts import ModelBundle, TransformersRuntime
from textgate.components.families.family import ExportableFamily, Family
from textgate.components.inference import CalibratedPredictor, Predictor, load_bundle


def _linear() -> Family:
    from textgate.components.families import linear

    return linear


def _word2vec() -> Family:
    from textgate.components.families import word2vec

    return word2vec


def _ensemble() -> Family:
    from textgate.components.families import ensemble

    return ensemble


def _embedding() -> ExportableFamily:
    from textgate.components.families.embedding import family

    return family


def _transformer() -> ExportableFamily:
    from textgate.components.families.transformer import family

    return family


EXPORTABLE_FAMILIES: Mapping[str, Callable[[], ExportableFamily]] = {
    "embedding": _embedding,
    "transformer": _transformer,
    "prompted": _transformer,
}
"""Loaders of the families that are exported before they are served, by the name in the recipe."""

FAMILIES: Mapping[str, Callable[[], Family]] = {
    "linear": _linear,
    "word2vec": _word2vec,
    "ensemble": _ensemble,
    **EXPORTABLE_FAMILIES,
}
"""Loaders of all families, by the name in the recipe."""


def open_predictor(folder: Path, bundle: ModelBundle, base_model: Path | None = None) -> Predictor:
    """What answers for the bundle in ``folder``, calibrated: as it is served, or a transformer by the family on torch.

    ``base_model`` is the local folder or file of what ``bundle.base_model`` names.
    """
    if not isinstance(bundle.runtime, TransformersRuntime):
        return load_bundle(folder)
    predictor = FAMILIES[bundle.family]().predictor(folder / bundle.runtime.folder, bundle, base_model)
    return CalibratedPredictor(predictor, bundle.calibration.temperature)
