from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from textgate.components.contracts import LinearRuntime, ModelBundle, TextNormalizer


@pytest.fixture(scope="session")
def write_linear() -> Callable[[Path, float], Path]:
    """Makes a bundle that answers by whether a text holds the word good or bad, the surer the greater the weight."""

    def write(folder: Path, weight: float) -> Path:
        folder.mkdir()
        weights = np.array([[weight, 0.0], [0.0, weight]])
        save_file({"idf": np.ones(2), "weights": weights, "bias": np.zeros(2)}, folder / "model.safetensors")
        (folder / "vocabulary.json").write_text('["bad", "good"]')
        ModelBundle(
            name="words",
            family="linear",
            runtime=LinearRuntime(ngrams=(1, 1), sublinear=True),
            labels=["bad", "good"],
            normalizer=TextNormalizer(),
            recipe={},
            metrics={},
            dataset="0" * 64,
            versions={},
        ).write(folder)
        return folder

    return write
