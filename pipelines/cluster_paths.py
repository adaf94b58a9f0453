"""Paths of a recipe that name files of this machine, which the steps of a cluster cannot read."""

from collections.abc import Iterator, Sequence

from textgate.components.contracts import InputError, Recipe, bundle_references
from textgate.components.contracts.recipe.source import MAIN
from textgate.components.sources import is_local, is_path
from textgate.pipelines.sweep import Combination


def require_remote_paths(recipe: Recipe, sweep: Sequence[Combination] = ()) -> None:
    """Check that a cluster can read everything that a recipe, or a sweep over it, names.

    Raises:
        InputError: A source, a file of corrections, a base model or a bundle is a path of this machine.
    """
    for one in [combination.recipe for combination in sweep] or [recipe]:
        for what, path, cure in _paths(one):
            if is_local(path):
                raise InputError(
                    f"the {what} {path} is on this machine, where the steps of a cluster cannot read it: upload it to "
                    f"the store and {cure}"
                )


def _paths(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Yield what a path or URI is, the path or URI, and how to name it in the store."""
    domains = recipe.evaluate.out_of_domain
    keys = {"source": recipe.source, **{f"evaluate.out_of_domain.{name}": domains[name] for name in domains}}
    for key, section in keys.items():
        for name, source in section.sources.items():
            inner = key if name == MAIN else f"{key}.also.{name}"
            option = "--source " if inner == "source" else f"--set {inner}.uri="
            yield "source", source.uri, f"give {option}s3://bucket/key"
        if section.corrections:
            yield "file", section.corrections, f"give --set {key}.corrections=s3://bucket/key"
    base_model = getattr(recipe.train, "base_model", None)
    if base_model:
        yield "base model", base_model, "give --set train.base_model=s3://bucket/folder/, or name one of the hub"
    for reference in bundle_references(recipe.train):
        if is_path(reference):
            yield "bundle", reference, "name it s3://bucket/folder/, or name a model of the registry"
