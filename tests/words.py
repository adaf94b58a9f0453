"""A small linear model that predicts from the words good and bad."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from textgate.components.contracts import LinearRuntime, ModelBundle, TextNormalizer

WEIGHT = 2.0


def write_words(folder: Path, *extra_files: str, weight: float = WEIGHT) -> Path:
    """Write the bundle, with extra files of the given names; a larger weight gives more confident predictions."""
    folder.mkdir()
    weights = np.array([[weight, 0.0], [0.0, weight]])
    save_file({"idf": np.ones(2), "weights": weights, "bias": np.zeros(2)}, folder / "model.safetensors")
    (folder / "vocabulary.json").write_text('["bad", "good"]')
    for name in extra_files:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    linear_bundle("words", ["bad", "good"]).write(folder)
    return folder


def linear_bundle(name: str, labels: list[str]) -> ModelBundle:
    """Return the manifest of a linear bundle without training data; its ``write`` adds it to a folder of files."""
    return ModelBundle(
        name=name,
        family="linear",
        runtime=LinearRuntime(ngrams=(1, 1), sublinear=True, norm="l1"),
        labels=labels,
        normalizer=TextNormalizer(),
        recipe={},
        metrics={},
        dataset="0" * 64,
        versions={},
    )
