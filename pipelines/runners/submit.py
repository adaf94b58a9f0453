"""Upload a recipe's pipeline to a cluster and start a run; ``follow`` shows the run."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from textgate.components.contracts import Recipe, file_sha256
from textgate.components.contracts.recipe.run_inputs import run_inputs
from textgate.components.image import Images
from textgate.components.sources import source_version
from textgate.pipelines.cluster_paths import require_remote_paths
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
    inputs: dict[str, Any]
    """Defaults of its inputs by name. KFP's page for a clone shows the values that the run was given, not defaults."""

    @property
    def reference(self) -> tuple[str, str]:
        """Ids of the pipeline and of its version."""
        return self.pipeline, self.version


def upload(cluster: Cluster, recipe: Recipe, images: Images, sweep: Sequence[Combination] = ()) -> UploadedPipeline:
    """Compile the pipeline of a recipe, or of a sweep over it, and upload it.

    The version is named by a hash of the compiled pipeline, so an unchanged pipeline is not uploaded again.

    Raises:
        InputError: See ``require_remote_paths`` and ``Cluster``.
        UnavailableError: See ``Cluster``.
    """
    require_remote_paths(recipe, sweep)
    cluster.check()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{recipe.name}.yaml"
        inputs = run_inputs(recipe, trained_once=not sweep)
        steps = compile_pipeline(recipe, file, images, sweep, inputs)
        name = file_sha256(file)[:_VERSION_CHARACTERS]
        pipeline, uploaded = cluster.upload(recipe.name, recipe.description, name, file)
    return UploadedPipeline(pipeline, uploaded, name, steps, {one.name: one.value for one in inputs})


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
    parameters = {**uploaded.inputs, "bucket": bucket, "source_version": source_version(recipe.source)}
    name = name or f"{recipe.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    return cluster.start(name, cluster.experiment(experiment or recipe.model), uploaded.reference, parameters)
