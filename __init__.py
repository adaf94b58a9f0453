"""Fine-tune text classifiers, judge exactly what will be served, promote only what passes.

The names below are the public API; each is documented where it is defined.

    import textgate

    recipe = textgate.open_recipe("quickstart", {"train.epochs": 1})
    run = textgate.run(recipe)                  # the pipeline with its gates; promotes a model that passes
    model = textgate.load("quickstart")         # the champion in the registry
    model.predict(["a moving, beautifully acted film"])

Names are imported on first use, so that ``import textgate`` stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from textgate.components.version import __version__

if TYPE_CHECKING:
    from textgate.components.contracts import InputError, Recipe
    from textgate.components.inference import LoadedBundle, Prediction
    from textgate.pipelines.api import TrainingResult, evaluate, load, open_recipe, run, train
    from textgate.pipelines.runners.local import LocalRun

__all__ = [
    "InputError",
    "LoadedBundle",
    "LocalRun",
    "Prediction",
    "Recipe",
    "TrainingResult",
    "__version__",
    "evaluate",
    "load",
    "open_recipe",
    "run",
    "train",
]

_MODULES = {
    "InputError": "textgate.components.contracts",
    "LoadedBundle": "textgate.components.inference",
    "LocalRun": "textgate.pipelines.runners.local",
    "Prediction": "textgate.components.inference",
    "Recipe": "textgate.components.contracts",
}
"""Modules of the names that are not defined in ``textgate.pipelines.api``."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'textgate' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "textgate.pipelines.api")), name)


def __dir__() -> list[str]:
    return __all__
