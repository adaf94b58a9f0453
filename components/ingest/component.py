"""KFP door of ingest."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(source: str, source_version: str, code: str, dataset: dsl.Output[dsl.Dataset]) -> None:
    """Read a source.

    Args:
        source: The recipe's section ``source`` as JSON.
        source_version: What stands behind the URI; unused, it varies the cache key, which cannot see the content.
        code: Version of the step's code; unused, it varies the cache key, which cannot see imported code.
        dataset: The rows in one split, and the rejected ones.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import Source
        from textgate.components.ingest.ingest import ingest_source
        from textgate.components.storage.fetch import default_downloads

        manifest = ingest_source(Source.model_validate_json(source), Path(dataset.path), default_downloads())
        rejected = sum(manifest.rejected.values())
        dataset.metadata.update(
            rows_in=manifest.rows_in,
            rows_out=manifest.rows_out,
            rejected=rejected,
            fingerprint=manifest.fingerprint,
        )
