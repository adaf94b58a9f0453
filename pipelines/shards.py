"""Parallel ingest and preprocess of a source of several files (``resources.shards``):

    (ingest_part ─ clean_part)* ─ join_parts ─ preprocess_parts

This replaces ``ingest ─ preprocess`` and gives the same dataset. Deduplication, the split and the labels depend on all
rows, so they follow after the parts are joined. For why a loop is a pipeline of its own see ``loops``.
"""  # noqa: D415

from typing import Any

from kfp import dsl

from textgate.components.contracts import Source
from textgate.components.ingest.component import ingest_part, join_parts
from textgate.components.preprocess.component import clean_part, preprocess_parts
from textgate.pipelines.pods import schemes_in
from textgate.pipelines.steps import Steps


def sharded_ingest(steps: Steps, source: Source) -> Any:
    """Return a pipeline that replaces ingest; its input is ``source_version``, its output the raw dataset."""
    section, shards = source.model_dump_json(), steps.resources.shards

    @dsl.pipeline(name="shards")
    def pipeline(source_version: str) -> dsl.Dataset:
        with dsl.ParallelFor(list(range(shards))) as part:
            raw = _ingest_part(steps, section, part, source_version)
        return _join(steps, section, raw)

    return pipeline


def sharded_dataset(steps: Steps, source: Source, settings: str) -> Any:
    """Return a pipeline that replaces ingest and preprocess; its input is ``source_version``, its output the dataset.

    Args:
        steps: Steps of the enclosing pipeline.
        source: Section ``source`` of the recipe.
        settings: Section ``preprocess`` as JSON.
    """
    section, shards = source.model_dump_json(), steps.resources.shards

    @dsl.pipeline(name="shards")
    def pipeline(source_version: str) -> dsl.Dataset:
        with dsl.ParallelFor(list(range(shards))) as part:
            raw = _ingest_part(steps, section, part, source_version)
            cleaned = steps.on_cpu(clean_part(raw=raw, preprocess=settings, code=steps.code("preprocess")))
        dataset = steps.on_cpu(
            preprocess_parts(
                raw=_join(steps, section, raw),
                parts=dsl.Collected(cleaned.outputs["cleaned"]),
                preprocess=settings,
                code=steps.code("preprocess"),
            )
        )
        return dataset.outputs["dataset"]

    return pipeline


def _ingest_part(steps: Steps, source: str, part: Any, source_version: Any) -> Any:
    arguments = {"source": source, "part": part, "parts": steps.resources.shards, "source_version": source_version}
    task = ingest_part(**arguments, code=steps.code("ingest"))
    return steps.on_cpu(task, schemes=schemes_in(source)).outputs["dataset"]


def _join(steps: Steps, source: str, raw: Any) -> Any:
    task = join_parts(parts=dsl.Collected(raw), source=source, code=steps.code("ingest"))
    return steps.on_cpu(task).outputs["dataset"]
