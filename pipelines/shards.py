"""A source of several files, read and cleaned in parts at once:

    (ingest_part ─ clean_part)* ─ join_parts ─ preprocess_parts

in place of ``ingest ─ preprocess``, with the same result. Deduplication, the split and the labels need every row, so
they come after the parts are joined. A loop stands in a pipeline of its own (see ``training``).
"""  # noqa: D415

from typing import Any

from kfp import dsl

from textgate.components.contracts import Recipe
from textgate.components.ingest.component import ingest_part, join_parts
from textgate.components.preprocess.component import clean_part, preprocess_parts


def sharded_ingest(steps: Any, recipe: Recipe) -> Any:
    """What ingest makes, of ``source_version``."""
    shards, source = recipe.resources.shards, recipe.source.model_dump_json()

    @dsl.pipeline(name="shards")
    def pipeline(source_version: str) -> dsl.Dataset:
        with dsl.ParallelFor(list(range(shards))) as part:
            raw = _part(steps, source, part, shards, source_version)
        return _joined(steps, source, raw)

    return pipeline


def sharded_dataset(steps: Any, recipe: Recipe, settings: str) -> Any:
    """What ingest and preprocess make, of ``source_version``; ``settings`` is the section ``preprocess`` as JSON."""
    shards, source = recipe.resources.shards, recipe.source.model_dump_json()

    @dsl.pipeline(name="shards")
    def pipeline(source_version: str) -> dsl.Dataset:
        with dsl.ParallelFor(list(range(shards))) as part:
            raw = _part(steps, source, part, shards, source_version)
            cleaned = steps.step(clean_part(raw=raw, preprocess=settings, code=steps.code("preprocess")))
        dataset = steps.step(
            preprocess_parts(
                raw=_joined(steps, source, raw),
                parts=dsl.Collected(cleaned.outputs["cleaned"]),
                preprocess=settings,
                code=steps.code("preprocess"),
            )
        )
        return dataset.outputs["dataset"]

    return pipeline


def _part(steps: Any, source: str, part: Any, shards: int, source_version: Any) -> Any:
    task = ingest_part(source=source, part=part, parts=shards, source_version=source_version, code=steps.code("ingest"))
    return steps.step(task).outputs["dataset"]


def _joined(steps: Any, source: str, raw: Any) -> Any:
    task = join_parts(parts=dsl.Collected(raw), source=source, code=steps.code("ingest"))
    return steps.step(task).outputs["dataset"]
