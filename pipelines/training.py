"""The training pipeline: from a source to a champion, through two gates.

    ingest ─ preprocess ─ train ─ evaluate ─ gate_trained
        ─ merge_quantize ─ export_onnx ─ evaluate ─ gate_served ─ promote

One function for a laptop, containers and a cluster. Each step is told its own section of the recipe and nothing else,
so that its cache holds while other sections change.
"""

from pathlib import Path
from typing import Any

from kfp import compiler, dsl, kubernetes

from textgate.components.contracts import Recipe, Resources
from textgate.components.evaluate.component import evaluate
from textgate.components.export_onnx.component import export_onnx
from textgate.components.gate.component import gate_served, gate_trained
from textgate.components.image import IMAGE
from textgate.components.ingest.component import ingest
from textgate.components.merge_quantize.component import merge_quantize
from textgate.components.preprocess.component import preprocess
from textgate.components.promote.component import promote
from textgate.components.record.component import record
from textgate.components.storage import DEFAULT_BUCKET
from textgate.components.train.component import train
from textgate.pipelines.code_version import code_version


def training_pipeline(recipe: Recipe, image: str = IMAGE) -> Any:
    """The pipeline of one recipe.

    Its parameters, each with a default, are ``bucket`` and ``source_version``: a string that changes when the content
    behind the source's URI does, without which an earlier reading of the same URI would be taken from the cache.
    """

    @dsl.pipeline(name=recipe.name, description=recipe.description)
    def pipeline(bucket: str = DEFAULT_BUCKET, source_version: str = "") -> None:
        run = dsl.PIPELINE_JOB_NAME_PLACEHOLDER
        gate = recipe.gate.model_dump_json()

        def step(task: Any, *, cached: bool = True) -> Any:
            return task.set_container_image(image).set_caching_options(cached)

        recorded = step(record(recipe=recipe.model_dump_json(), run=run, bucket=bucket), cached=False)
        with dsl.ExitHandler(recorded):
            raw = step(
                ingest(
                    source=recipe.source.model_dump_json(), source_version=source_version, code=code_version("ingest")
                )
            )
            dataset = step(
                preprocess(
                    raw=raw.outputs["dataset"],
                    preprocess=recipe.preprocess.model_dump_json(),
                    code=code_version("preprocess"),
                )
            ).outputs["dataset"]
            trained = step(
                train(
                    dataset=dataset,
                    name=recipe.name,
                    training=recipe.train.model_dump_json(),
                    code=code_version("train"),
                )
            )
            _request(trained, recipe.resources)
            judged = step(
                evaluate(dataset=dataset, model=trained.outputs["model"], code=code_version("evaluate"))
            ).outputs["evaluation"]
            first = step(gate_trained(dataset=dataset, trained=judged, gate=gate, run=run, bucket=bucket), cached=False)
            with dsl.If(first.outputs["Output"] == True):  # noqa: E712 (builds a condition of the DAG)
                merged = step(merge_quantize(model=trained.outputs["model"], code=code_version("merge_quantize")))
                exported = step(
                    export_onnx(
                        model=merged.outputs["merged"],
                        export=recipe.export.model_dump_json(),
                        code=code_version("export_onnx"),
                    )
                ).outputs["exported"]
                served = step(evaluate(dataset=dataset, model=exported, code=code_version("evaluate")))
                second = step(
                    gate_served(
                        dataset=dataset,
                        served=served.outputs["evaluation"],
                        trained=judged,
                        model=recipe.model,
                        gate=gate,
                        run=run,
                        bucket=bucket,
                    ),
                    cached=False,
                )
                with dsl.If(second.outputs["Output"] == True):  # noqa: E712
                    step(
                        promote(
                            exported=exported,
                            decision=second.outputs["decision"],
                            model=recipe.model,
                            run=run,
                            bucket=bucket,
                        ),
                        cached=False,
                    )

    return pipeline


def compile_pipeline(recipe: Recipe, path: Path, image: str = IMAGE) -> None:
    """Write the recipe's pipeline as KFP YAML, the file that runs anywhere."""
    compiler.Compiler().compile(training_pipeline(recipe, image), str(path))


def _request(task: Any, resources: Resources) -> None:
    """Ask the cluster for what the train step needs."""
    task.set_cpu_limit(resources.cpu).set_memory_limit(resources.memory)
    if resources.accelerator:
        task.set_accelerator_type(resources.accelerator.type).set_accelerator_limit(resources.accelerator.count)
    for key, value in resources.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
