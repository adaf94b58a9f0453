"""KFP components of the ingest step."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(source: str, source_version: str, code: str, dataset: dsl.Output[dsl.Dataset]) -> None:
    """Read a source into a dataset.

    Args:
        source: The recipe's section ``source`` as JSON.
        source_version: Version of the content behind the URI, which is part of the cache key, and the only one that is
            read. With a string that is no such version, such as the id of a run, the present content is read.
        code: Version of the step's code. Not used by the code: it is part of the cache key.
        dataset: Dataset with the accepted and the rejected rows.
    """
    from textgate.components.step import step_work

    with step_work(outputs=[dataset]):
        from pathlib import Path

        from textgate.components.contracts import Source
        from textgate.components.ingest.ingest import ingest_source
        from textgate.components.sources import default_downloads

        settings = Source.model_validate_json(source)
        manifest = ingest_source(settings, Path(dataset.path), default_downloads(), source_version)
        dataset.metadata.update(manifest.summary)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest_part(
    source: str, part: int, parts: int, source_version: str, code: str, dataset: dsl.Output[dsl.Dataset]
) -> None:
    """Read one part of a source of several files.

    Args:
        source: The recipe's section ``source`` as JSON.
        part: Index of the part, from 0.
        parts: Number of parts.
        source_version: See ``ingest``.
        code: See ``ingest``.
        dataset: Dataset with the accepted and the rejected rows of this part.
    """
    from textgate.components.step import step_work

    with step_work(outputs=[dataset]):
        from pathlib import Path

        from textgate.components.contracts import Source
        from textgate.components.ingest import source_parts
        from textgate.components.sources import default_downloads

        settings = Source.model_validate_json(source)
        source_parts.ingest_part(settings, part, parts, Path(dataset.path), default_downloads(), source_version)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def join_parts(
    parts: dsl.Input[list[dsl.Dataset]],
    source: str,
    code: str,
    dataset: dsl.Output[dsl.Dataset],
) -> None:
    """Concatenate the parts of a source.

    Args:
        parts: Outputs of ``ingest_part``.
        source: The recipe's section ``source`` as JSON.
        code: See ``ingest``.
        dataset: The same dataset as ``ingest`` writes.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[*parts], outputs=[dataset]):
        from pathlib import Path

        from textgate.components.contracts import Source
        from textgate.components.ingest import source_parts
        from textgate.components.sources import default_downloads

        settings, folders = Source.model_validate_json(source), [Path(part.path) for part in parts]
        manifest = source_parts.join_parts(settings, folders, Path(dataset.path), default_downloads())
        dataset.metadata.update(manifest.summary)
