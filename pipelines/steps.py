"""Tasks of the training and comparison pipelines, with their cache keys, images and resources.

Each method of ``Steps`` adds one task to the pipeline that is being compiled. A task receives only the sections of the
recipe that it needs, so that it stays cached when other sections change.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kfp import dsl

from textgate.components.check_labels.component import check_labels
from textgate.components.configure.component import configure
from textgate.components.contracts import (
    Compute,
    EvaluateSettings,
    FromBaseModel,
    Recipe,
    Resources,
    bundle_references,
)
from textgate.components.evaluate.component import evaluate
from textgate.components.export_onnx.component import export_onnx
from textgate.components.gate.component import gate_served, gate_trained
from textgate.components.image import Images
from textgate.components.ingest.component import ingest
from textgate.components.merge_quantize.component import merge_quantize
from textgate.components.preprocess.component import preprocess
from textgate.components.promote.component import promote
from textgate.components.record.component import record
from textgate.components.sources import cache_version, is_mutable
from textgate.components.tracking.tracked_run import GROUP_VARIABLE, RUN_VARIABLE
from textgate.components.train.component import train
from textgate.pipelines.code_version import code_version, step_module
from textgate.pipelines.pods import (
    RETRIES,
    configure_pod,
    configure_tracking,
    place_on_device,
    schemes_in,
    training_and_export,
)

# The run's id, not its name: on a cluster the name is free text, and runs of a schedule have none.
_RUN = dsl.PIPELINE_JOB_ID_PLACEHOLDER


class Configured(NamedTuple):
    """Settings of a run: strings, or outputs of the step ``configure``."""

    recipe: Any
    """Complete recipe as JSON."""
    source: Any
    """Section ``source`` as JSON."""
    training: Any
    """Section ``train`` as JSON."""
    model: Any
    """Name of the model in the registry."""


@dataclass(frozen=True)
class ServedCandidate:
    """Inputs of the second gate: outputs of earlier tasks, or strings."""

    dataset: Any
    exported: Any
    """Bundle that would be served."""
    trained: Any
    """Evaluation of the trained bundle."""
    merge: Any
    """Effect of merging the adapter."""
    measurements: Any
    """Measurements of the export targets."""
    recipe: Any
    """Complete recipe as JSON."""
    settings: Any
    """Evaluation settings of the exported bundle as JSON."""
    label_issues: Any = None
    """Training texts whose label looks wrong; None if they are not looked for."""


@dataclass(frozen=True)
class Steps:
    """Factory of a pipeline's tasks."""

    name: str
    """Name of the trained bundle, and value of the pods' label ``app.kubernetes.io/instance``."""
    resources: Resources
    images: Images
    families: frozenset[str]
    """Model families that the pipeline trains; their code is part of the cache keys."""
    trains_on_device: bool
    exports_on_device: bool
    caches_training: bool
    base_models: str
    """Versions of the base models that are files or folders of this machine, by path, as JSON."""
    base_schemes: frozenset[str]
    """Schemes of the URIs of the base models, which are read by the steps up to the merge."""
    trained_from: frozenset[str]
    """Those and the schemes of the finished bundles that trainings start from."""
    trains_several: bool = False
    """Whether a run has several trainings, which are then runs of their own in the tracking services."""

    @classmethod
    def for_recipes(cls, name: str, recipes: Sequence[Recipe], resources: Resources, images: Images) -> "Steps":
        """Return the steps of a pipeline that trains each of the recipes.

        Args:
            name: See the attribute.
            recipes: Recipes that are trained: one, the combinations of a sweep, or those of a comparison.
            resources: Resources that suffice for each of them.
            images: Container images of the steps.
        """
        on_device = [recipe for recipe in recipes if recipe.train.uses_accelerator]
        base_models = {recipe.train.base_model for recipe in recipes if isinstance(recipe.train, FromBaseModel)}
        versions = {uri: cache_version(uri) for uri in sorted(base_models)}
        references = [name for recipe in recipes for name in bundle_references(recipe.train)]
        base_schemes = schemes_in(json.dumps(sorted(base_models)))
        return cls(
            name,
            resources,
            images,
            families=frozenset(recipe.train.family for recipe in recipes),
            trains_on_device=bool(on_device),
            # A Hugging Face folder is loaded in PyTorch to be measured and judged.
            exports_on_device=any(recipe.export.needs_torch for recipe in on_device),
            # A bundle or base model that is named without its version may be another one in the next run.
            caches_training=None not in versions.values() and not any(map(is_mutable, references)),
            base_models=json.dumps({uri: version for uri, version in versions.items() if version}),
            base_schemes=base_schemes,
            trained_from=base_schemes | schemes_in(json.dumps(references)),
            trains_several=len(recipes) > 1,
        )

    def code(self, step: str) -> str:
        """Return the argument ``code`` of a step: the versions of its code and of its image, part of its cache key."""
        return self.code_of(step_module(step))

    def code_of(self, module: str) -> str:
        """Return the same for a step whose work is done by ``module``."""
        return f"{code_version(module, self.families)} {self.images.digest}".rstrip()

    # Placement: each method configures a task, which reads URIs with these schemes, and returns it.

    def on_cpu(
        self,
        task: Any,
        *,
        cached: bool = True,
        compute: Compute | None = None,
        schemes: frozenset[str] = frozenset(),
    ) -> Any:
        """Run a task on the CPU, by default with the default resources."""
        configure_pod(task, self.name, compute or Compute(), schemes)
        return task.set_container_image(self.images.cpu).set_caching_options(cached)

    @property
    def _run_variable(self) -> str:
        return GROUP_VARIABLE if self.trains_several else RUN_VARIABLE

    def on_device(self, task: Any, schemes: frozenset[str]) -> Any:
        """Run a task that runs the model in PyTorch, on an accelerator if the family uses one."""
        self.on_cpu(task, compute=self.resources, schemes=schemes)
        return self._placed(task) if self.trains_on_device else task

    def for_export(self, task: Any, *, cached: bool = True) -> Any:
        """Run a task that exports, measures or judges the served model, on an accelerator if a target needs PyTorch."""
        self.on_cpu(task, cached=cached, compute=self.resources.export)
        return self._placed(task) if self.exports_on_device else task

    def for_training_and_export(self, task: Any) -> Any:
        """Run a task that trains and exports one system of a comparison."""
        compute = training_and_export(self.resources)
        self.on_cpu(task, cached=self.caches_training, compute=compute, schemes=self.trained_from)
        return self._placed(task) if self.trains_on_device else task

    def _placed(self, task: Any) -> Any:
        place_on_device(task, self.resources)
        return task.set_container_image(self.images.gpu) if self.resources.accelerator else task

    # Tasks: each method returns the outputs that later tasks need.

    def record(self, recipe: str, source_version: Any, bucket: Any) -> Any:
        """Add the exit handler, which writes the run record; return its task."""
        task = record(recipe=recipe, run=_RUN, source_version=source_version, bucket=bucket)
        configure_tracking(task)
        return self.on_cpu(task, cached=False)

    def configure(
        self, recipe: str, source_version: Any, bucket: Any, inputs: Mapping[str, Any]
    ) -> tuple[Configured, Any]:
        """Apply the inputs of the pipeline to the recipe (JSON); return the settings and the version of the source."""
        task = configure(recipe=recipe, source_version=source_version, run=_RUN, bucket=bucket, **inputs)
        # Not cached: it determines the present version of the source, and saves the settings under the run's name.
        # Its errors are mostly wrong inputs, so its retries do not keep the user waiting for minutes.
        self.on_cpu(task, cached=False, schemes=schemes_in(inputs["source"])).set_retry(RETRIES, "5s", 2, "300s")
        outputs = task.outputs
        return Configured(*(outputs[name] for name in Configured._fields)), outputs["source_version"]

    def ingest(
        self, source: Any, source_version: Any, *, cached: bool = True, schemes: frozenset[str] | None = None
    ) -> Any:
        """Read a source; return the raw dataset.

        Args:
            source: Section ``source`` as JSON.
            source_version: Version of the content behind the URI.
            cached: False if the version is unknown: the cache cannot see that the content has changed.
            schemes: Schemes of the source's URIs; by default those in the section.
        """
        task = ingest(source=source, source_version=source_version, code=self.code("ingest"))
        return self.on_cpu(task, cached=cached, schemes=schemes_in(source) if schemes is None else schemes).output

    def preprocess(self, raw: Any, settings: Any) -> Any:
        """Clean and split the raw dataset by the section ``preprocess`` (JSON); return the dataset."""
        task = preprocess(raw=raw, preprocess=settings, code=self.code("preprocess"))
        return self.on_cpu(task).outputs["dataset"]

    def check_labels(self, dataset: Any, settings: EvaluateSettings) -> Any:
        """Find training texts whose label looks wrong; return them, or None if the recipe turns the check off."""
        if not settings.label_check_texts:
            return None
        code = self.code("check_labels")
        task = check_labels(dataset=dataset, texts=settings.label_check_texts, seed=settings.seed, code=code)
        return self.on_cpu(task).outputs["label_issues"]

    def train(self, dataset: Any, settings: Any, bucket: Any) -> Any:
        """Train a model by the section ``train`` (JSON); return its bundle."""
        arguments = {"dataset": dataset, "name": self.name, "training": settings, "bucket": bucket}
        arguments |= {"code": self.code("train"), "base_models": self.base_models}
        if self.resources.nodes == 1:
            task = self.on_device(train(**arguments), self.trained_from)
            configure_tracking(task, self._run_variable)
            return task.set_caching_options(self.caches_training).outputs["model"]
        # The step itself only creates a TrainJob, whose pods request the resources and use the step's image.
        nodes = self.resources.model_dump_json(exclude={"export", "shards"})
        task = train(**arguments, nodes=nodes)
        compute = Compute(hours=self.resources.hours)
        self.on_cpu(task, cached=self.caches_training, compute=compute, schemes=self.trained_from)
        configure_tracking(task, self._run_variable)
        if self.resources.accelerator:
            task.set_container_image(self.images.gpu)
        return task.outputs["model"]

    def evaluate_trained(self, dataset: Any, model: Any, recipe: Recipe) -> Any:
        """Evaluate the trained bundle, with the decision threshold that the recipe asks for; return the evaluation."""
        settings = recipe.evaluate.for_trained_model.model_dump_json()
        # Other keys of the section do not affect this step, so they are no part of its cache key.
        threshold = recipe.export.model_dump_json(include={"threshold", "min_precision"})
        arguments = {"export": threshold} if recipe.export.threshold else {}
        task = evaluate(dataset=dataset, model=model, settings=settings, code=self.code("evaluate"), **arguments)
        return self.on_device(task, self.base_schemes).outputs["evaluation"]

    def gate_trained(
        self, dataset: Any, evaluation: Any, recipe: Any, bucket: Any, *, label_issues: Any = None, sweep: Any = None
    ) -> Any:
        """Add the first gate; return its verdict."""
        arguments = {"dataset": dataset, "trained": evaluation, "recipe": recipe, "run": _RUN, "bucket": bucket}
        task = gate_trained(**arguments, **_given(label_issues=label_issues, sweep=sweep))
        return self.on_cpu(task, cached=False).outputs["Output"]

    def merge(self, model: Any, evaluation: Any) -> Any:
        """Merge the adapter of the trained bundle; return the outputs ``merged`` and ``changes``."""
        task = merge_quantize(model=model, trained=evaluation, code=self.code("merge_quantize"))
        return self.on_device(task, self.base_schemes).outputs

    def export(self, dataset: Any, merged: Any, settings: str) -> Any:
        """Export the merged bundle by the section ``export`` (JSON); return ``exported`` and ``measurements``."""
        task = export_onnx(dataset=dataset, model=merged, export=settings, code=self.code("export_onnx"))
        return self.for_export(task).outputs

    def judge_and_promote(
        self, candidate: ServedCandidate, model: Any, bucket: Any, *, out_of_domain: Any = None, sweep: Any = None
    ) -> None:
        """Evaluate the bundle that would be served, add the second gate, and promote the bundle if it passes.

        Args:
            candidate: The bundle and the other inputs of the gate.
            model: Name of the model in the registry.
            bucket: Bucket of the store.
            out_of_domain: Raw datasets on which the bundle is evaluated too.
            sweep: Table of a sweep, for the report.
        """
        served = self.for_export(
            evaluate(
                dataset=candidate.dataset,
                model=candidate.exported,
                settings=candidate.settings,
                code=self.code("evaluate"),
                **_given(out_of_domain=out_of_domain),
            )
        )
        gate = self.for_export(
            gate_served(
                dataset=candidate.dataset,
                served=served.outputs["evaluation"],
                trained=candidate.trained,
                merge=candidate.merge,
                measurements=candidate.measurements,
                exported=candidate.exported,
                recipe=candidate.recipe,
                run=_RUN,
                bucket=bucket,
                **_given(label_issues=candidate.label_issues, sweep=sweep),
            ),
            cached=False,
        )
        with dsl.If(gate.outputs["Output"] == True):  # noqa: E712 (builds a condition of the DAG)
            decision = gate.outputs["decision"]
            task = promote(exported=candidate.exported, decision=decision, model=model, run=_RUN, bucket=bucket)
            self.on_cpu(task, cached=False, compute=self.resources.export)


def _given(**artifacts: Any) -> dict[str, Any]:
    """Return the artifacts that are not None: KFP accepts no None for an optional artifact."""
    return {name: artifact for name, artifact in artifacts.items() if artifact is not None}
