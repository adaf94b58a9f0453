"""Upload a recipe's pipeline to a cluster and start a run; ``follow`` shows the run."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from textgate.components.contracts import InputError, Recipe, bundle_references, file_sha256
from textgate.components.contracts.recipe.source import MAIN
from textgate.components.image import Images
from textgate.components.sources import is_path, source_version
from textgate.pipelines.runners.cluster import Cluster
from textgate.pipelines.sweep import Combination
from textgate.pipelines.training import compile_pipeline

RUN_ID_PLACEHOLDER = "[[RunUUID]]"
"""KFP replaces it by the id of the run, so that every run of a schedule reads the source again."""
_VERSION_CHARACTERS = 12


@dataclass(frozen=True)
class UploadedPipeline:
    """Pipeline of a recipe on the cluster."""

    pipeline: str
    """Id of the pipeline."""
    version: str
    """Id of its version."""
    version_name: str
    steps: frozenset[str]
    """Names of the tasks that run a container, without those that are graphs of other tasks."""

    @property
    def reference(self) -> tuple[str, str]:
        """Ids of the pipeline and of its version."""
        return self.pipeline, self.version


def upload(cluster: Cluster, recipe: Recipe, images: Images, sweep: Sequence[Combination] = ()) -> UploadedPipeline:
    """Compile the pipeline of a recipe, or of a sweep over it, and upload it.

    The version is named by a hash of the compiled pipeline, so an unchanged pipeline is not uploaded again.

    Raises:
        InputError: The source, or a bundle that the recipe builds on, is a local path; or see ``Cluster``.
        UnavailableError: See ``Cluster``.
    """
    for name, source in recipe.source.sources.items():
        if "://" not in source.uri or source.uri.startswith("file://"):
            option = "--source " if name == MAIN else f"--set source.also.{name}.uri="
            raise InputError(
                f"the source {source.uri} is on this machine, where the steps of a cluster cannot read it: upload it "
                f"to the store and give {option}s3://bucket/key"
            )
    corrections = recipe.source.corrections
    if corrections and ("://" not in corrections or corrections.startswith("file://")):
        raise InputError(
            f"the file {corrections} is on this machine, where the steps of a cluster cannot read it: upload it to the "
            "store and give --set source.corrections=s3://bucket/key"
        )
    for reference in bundle_references(recipe.train):
        if is_path(reference) and "://" not in reference:
            raise InputError(
                f"the bundle {reference} is on this machine, where the steps of a cluster cannot read it: upload it to "
                "the store and name it s3://bucket/folder/, or name a model of the registry"
            )
    cluster.check()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{recipe.name}.yaml"
        steps = compile_pipeline(recipe, file, images, sweep)
        name = file_sha256(file)[:_VERSION_CHARACTERS]
        pipeline, uploaded = cluster.upload(recipe.name, recipe.description, name, file)
    return UploadedPipeline(pipeline, uploaded, name, steps)


def start(
    cluster: Cluster, recipe: Recipe, uploaded: UploadedPipeline, bucket: str, experiment: str | None, name: str | None
) -> str:
    """Start a run.

    Args:
        cluster: API server.
        recipe: Recipe of the pipeline.
        uploaded: Uploaded pipeline.
        bucket: Bucket of the store.
        experiment: Name of the experiment; by default the recipe's model.
        name: Name of the run; by default the recipe's name and the time.

    Returns:
        Id of the run.

    Raises:
        InputError: The version of the source cannot be read; or see ``Cluster``.
        UnavailableError: See ``Cluster``.
    """
    parameters = {"bucket": bucket, "source_version": source_version(recipe.source)}
    name = name or f"{recipe.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    return cluster.start(name, cluster.experiment(experiment or recipe.model), uploaded.reference, parameters)
