"""Configure step: apply the inputs of a pipeline to its recipe, before anything else runs.

A recipe is checked before its pipeline is compiled, but its inputs are typed into a page of Kubeflow Pipelines, which
checks their types alone. So this step does what ``textgate submit`` does on the user's machine: it validates the
complete recipe, refuses a source that the cluster cannot read, and determines the version of the source.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from textgate.components.contracts import InputError, Recipe, redact
from textgate.components.contracts.recipe.run_inputs import with_inputs
from textgate.components.contracts.run_configuration import RunConfiguration
from textgate.components.sources import is_local, is_version_of, source_version, with_bucket


class Configured(NamedTuple):
    """Recipe of a run, and what the run's record keeps of it."""

    recipe: Recipe
    configuration: RunConfiguration


def configure_run(recipe: Recipe, inputs: Mapping[str, Any], version: str, bucket: str) -> Configured:
    """Return the recipe with the values of the inputs.

    Args:
        recipe: Recipe of the pipeline.
        inputs: Values by the name of the input, see ``run_inputs``.
        version: Version of the recipe's source. If it is no version, such as the id of a scheduled run, or if another
            source is given, the present version is used.
        bucket: Bucket of the store, for a source of feedback that names none.

    Raises:
        InputError: A value is wrong, the source is a path or a URL with a secret, or its version cannot be read.
    """
    changed, changes = with_inputs(recipe, inputs)
    uri = changed.source.uri
    if uri != recipe.source.uri:
        if is_local(uri):
            raise InputError(
                f"the input source is the path {uri!r}, which the steps of a cluster cannot read: upload it to the "
                "store and give s3://bucket/key"
            )
        if redact(uri) != uri:
            raise InputError(
                f"the input source is {uri}, but Kubeflow Pipelines stores and shows inputs: only textgate submit "
                "--source takes a URL with a query or user information"
            )
        changed = changed.with_sources(lambda source: with_bucket(source, bucket))
        version = ""
    if not is_version_of(changed.source, version):
        version = source_version(changed.source)
    return Configured(
        changed,
        RunConfiguration(recipe=changed.model_dump(mode="json"), source_version=version, changes=changes),
    )
