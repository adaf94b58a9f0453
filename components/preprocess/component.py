"""KFP door of preprocess."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preprocess(raw: dsl.Input[dsl.Dataset], preprocess: str, code: str, dataset: dsl.Output[dsl.Dataset]) -> None:
    """Clean, deduplicate and split.

    Args:
        raw: What ingest made.
        preprocess: The recipe's section ``preprocess`` as JSON.
        code: Version of the step's code; unused, it varies the cache key, which cannot see imported code.
        dataset: The splits train, validation and test, and every rejected row so far.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import Preprocess
        from textgate.components.preprocess.preprocess import preprocess_dataset

        settings = Preprocess.model_validate_json(preprocess)
        manifest = preprocess_dataset(Path(raw.path), settings, Path(dataset.path))
        rejected = sum(manifest.rejected.values())
        dataset.metadata.update(
            rows_in=manifest.rows_in,
            rows_out=manifest.rows_out,
            rejected=rejected,
            fingerprint=manifest.fingerprint,
        )


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def clean_part(raw: dsl.Input[dsl.Dataset], preprocess: str, code: str, cleaned: dsl.Output[dsl.Dataset]) -> None:
    """Clean the texts of one part of a source.

    Args:
        raw: What ``ingest_part`` made.
        preprocess: The recipe's section ``preprocess`` as JSON.
        code: See ``preprocess``.
        cleaned: Row by row the cleaned text, and whether it is in the language that is asked for.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import Preprocess
        from textgate.components.preprocess import cleaning

        cleaning.clean_part(Path(raw.path), Preprocess.model_validate_json(preprocess), Path(cleaned.path))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preprocess_parts(
    raw: dsl.Input[dsl.Dataset],
    parts: dsl.Input[list[dsl.Dataset]],
    preprocess: str,
    code: str,
    dataset: dsl.Output[dsl.Dataset],
) -> None:
    """Deduplicate and split what is cleaned already.

    Args:
        raw: What ``join_parts`` made.
        parts: What ``clean_part`` made of each part.
        preprocess: The recipe's section ``preprocess`` as JSON.
        code: See ``preprocess``.
        dataset: What ``preprocess`` makes of the whole.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import Preprocess
        from textgate.components.preprocess.preprocess import preprocess_dataset

        settings, folders = Preprocess.model_validate_json(preprocess), [Path(part.path) for part in parts]
        manifest = preprocess_dataset(Path(raw.path), settings, Path(dataset.path), folders)
        dataset.metadata.update(
            rows_in=manifest.rows_in,
            rows_out=manifest.rows_out,
            rejected=sum(manifest.rejected.values()),
            fingerprint=manifest.fingerprint,
        )
