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
        from textgate.components.sources import default_downloads

        manifest = ingest_source(Source.model_validate_json(source), Path(dataset.path), default_downloads())
        rejected = sum(manifest.rejected.values())
        dataset.metadata.update(
            rows_in=manifest.rows_in,
            rows_out=manifest.rows_out,
            rejected=rejected,
            fingerprint=manifest.fingerprint,
        )


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest_part(
    source: str, part: int, parts: int, source_version: str, code: str, dataset: dsl.Output[dsl.Dataset]
) -> None:
    """Read one part of a source of several files.

    Args:
        source: The recipe's section ``source`` as JSON.
        part: Its number, from 0.
        parts: How many there are.
        source_version: See ``ingest``.
        code: See ``ingest``.
        dataset: The rows of this part, and the rejected ones.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import Source
        from textgate.components.ingest import parts as ingest
        from textgate.components.sources import default_downloads

        settings = Source.model_validate_json(source)
        ingest.ingest_part(settings, part, parts, Path(dataset.path), default_downloads())


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def join_parts(
    parts: dsl.Input[list[dsl.Dataset]],
    source: str,
    code: str,
    dataset: dsl.Output[dsl.Dataset],
) -> None:
    """Put the parts of a source together.

    Args:
        parts: What ``ingest_part`` made of each.
        source: The recipe's section ``source`` as JSON.
        code: See ``ingest``.
        dataset: What ``ingest`` makes of the whole source.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import Source
        from textgate.components.ingest import parts as ingest
        from textgate.components.sources import default_downloads

        settings, folders = Source.model_validate_json(source), [Path(part.path) for part in parts]
        manifest = ingest.join_parts(settings, folders, Path(dataset.path), default_downloads())
        dataset.metadata.update(
            rows_in=manifest.rows_in,
            rows_out=manifest.rows_out,
            rejected=sum(manifest.rejected.values()),
            fingerprint=manifest.fingerprint,
        )
