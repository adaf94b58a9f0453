"""Registry of model families.

A family is a module that implements ``Family``. Its loader imports it on demand, so a linear recipe does not wait for
torch. Each loader names its return type, so mypy checks the module's functions against the protocol.

``pipelines.code_version`` reads the imports of the loaders: a step's cache key covers only the families that its run
uses. Keep each loader a function of this module that imports its family and nothing else.
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
"""Loaders of the families that are exported before they are served, by the family's name in the recipe."""

FAMILIES: Mapping[str, Callable[[], Family]] = {
    "linear": _linear,
    "word2vec": _word2vec,
    "ensemble": _ensemble,
    **EXPORTABLE_FAMILIES,
}
"""Loaders of all families, by the family's name in the recipe."""


def open_predictor(folder: Path, bundle: ModelBundle, base_model: Path | None = None) -> Predictor:
    """Return a calibrated predictor of a bundle with any runtime.

    A bundle that can be served is opened as it is served. A transformers bundle is opened by its family, on torch.

    Args:
        folder: Folder of the bundle.
        bundle: Its manifest.
        base_model: Local folder or file of ``bundle.base_model``; None if the bundle has none.
    """
    if not isinstance(bundle.runtime, TransformersRuntime):
        return load_bundle(folder)
    predictor = FAMILIES[bundle.family]().predictor(folder / bundle.runtime.folder, bundle, base_model)
    return CalibratedPredictor(predictor, bundle.calibration.temperature)
