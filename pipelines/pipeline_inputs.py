"""Signature of a pipeline whose inputs depend on its recipe."""

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any

from textgate.components.contracts.recipe.run_inputs import RunInput
from textgate.components.storage import DEFAULT_BUCKET

PRESENT = "present"
"""Default of ``source_version``: no version, so that the present one is read. A page of KFP takes no empty default."""


def with_signature(build: Callable[..., None], inputs: Sequence[RunInput]) -> Callable[..., None]:
    """Return a function with the parameters ``bucket``, ``source_version`` and the inputs, as kfp reads a pipeline.

    Args:
        build: Function of ``bucket``, ``source_version``, and the channels of the inputs by name.
        inputs: Inputs of the pipeline.
    """
    defaults = {"bucket": DEFAULT_BUCKET, "source_version": PRESENT if inputs else ""}
    kinds = {**dict.fromkeys(defaults, str), **{one.name: one.kind for one in inputs}}
    defaults |= {one.name: one.value for one in inputs}
    names = list(kinds)

    def pipeline(*channels: Any) -> None:
        build(**dict(zip(names, channels, strict=True)))

    parameters = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=defaults[name], annotation=kinds[name])
        for name in names
    ]
    pipeline.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    descriptions = {
        "bucket": "bucket of the store, for the run's files and the registry",
        "source_version": "version of the content of the source, as textgate submit gives it; with any other text the "
        "present version is read",
        **{one.name: one.description for one in inputs},
    }
    lines = [f"    {name}: {description}" for name, description in descriptions.items()]
    pipeline.__doc__ = "\n".join(["Train, judge and promote a model.", "", "Args:", *lines])
    return pipeline
