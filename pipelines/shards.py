"""Parallel ingest and preprocess of a source of several files (``resources.shards``):

    (ingest_part ─ clean_part)* ─ join_parts ─ preprocess_parts

This replaces ``ingest ─ preprocess`` and gives the same dataset. Deduplication, the split and the labels depend on all
rows, so they follow after the parts are joined. For why a loop is a pipeline of its own see ``loops``.
"""  # noqa: D415

from typing import Any

from kfp import dsl

from textgate.components.ingest.component import ingest_part, join_parts
from textgate.components.preprocess.component import clean_part, preprocess_parts
from textgate.pipelines.steps import Steps


def sharded_ingest(steps: Steps) -> Any:
    """Return a pipeline that replaces ingest.

    Its inputs are ``source``, the section of the recipe as JSON, and ``source_version``; its output is the raw dataset.
    """

    @dsl.pipeline(name="shards")
    def pipeline(source: str, source_version: str) -> dsl.Dataset:
        with dsl.ParallelFor(list(range(steps.resources.shards))) as part:
            raw = _ingest_part(steps, source, part, source_version)
        return _join(steps, source, raw)

    return pipeline


def sharded_dataset(steps: Steps, settings: str) -> Any:
    """Return a pipeline that replaces ingest and preprocess.

    Its inputs are ``source``, the section of the recipe as JSON, and ``source_version``; its output is the dataset.

    Args:
        steps: Steps of the enclosing pipeline.
        settings: Section ``preprocess`` as JSON.
    """

    @dsl.pipeline(name="shards")
    def pipeline(source: str, source_version: str) -> dsl.Dataset:
        with dsl.ParallelFor(list(range(steps.resources.shards))) as part:
            raw = _ingest_part(steps, source, part, source_version)
            cleaned = steps.on_cpu(clean_part(raw=raw, preprocess=settings, code=steps.code("preprocess")))
        dataset = steps.on_cpu(
            preprocess_parts(
                raw=_join(steps, source, raw),
                parts=dsl.Collected(cleaned.outputs["cleaned"]),
                preprocess=settings,
                code=steps.code("preprocess"),
            )
        )
        return dataset.outputs["dataset"]

    return pipeline


def _ingest_part(steps: Steps, source: Any, part: Any, source_version: Any) -> Any:
    arguments = {"source": source, "part": part, "parts": steps.resources.shards, "source_version": source_version}
    return steps.on_cpu(ingest_part(**arguments, code=steps.code("ingest"))).outputs["dataset"]


def _join(steps: Steps, source: Any, raw: Any) -> Any:
    task = join_parts(parts=dsl.Collected(raw), source=source, code=steps.code("ingest"))
    return steps.on_cpu(task).outputs["dataset"]
