"""KFP components of the preprocess step."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preprocess(raw: dsl.Input[dsl.Dataset], preprocess: str, code: str, dataset: dsl.Output[dsl.Dataset]) -> None:
    """Clean, deduplicate and split a dataset.

    Args:
        raw: Output of ``ingest``.
        preprocess: The recipe's section ``preprocess`` as JSON.
        code: Version of the step's code. Not used by the code: it is part of the cache key.
        dataset: Dataset with the splits train, validation and test, and all rows rejected so far.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[raw], outputs=[dataset]):
        from pathlib import Path

        from textgate.components.contracts import Preprocess
        from textgate.components.preprocess.preprocess import preprocess_dataset

        settings = Preprocess.model_validate_json(preprocess)
        manifest = preprocess_dataset(Path(raw.path), settings, Path(dataset.path))
        dataset.metadata.update(manifest.summary)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def clean_part(raw: dsl.Input[dsl.Dataset], preprocess: str, code: str, cleaned: dsl.Output[dsl.Dataset]) -> None:
    """Clean the texts of one part of a source.

    Args:
        raw: Output of ``ingest_part``.
        preprocess: The recipe's section ``preprocess`` as JSON.
        code: See ``preprocess``.
        cleaned: Dataset with the cleaned text of each row, and whether it is in the recipe's language.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[raw], outputs=[cleaned]):
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
    """Deduplicate and split texts that ``clean_part`` has cleaned.

    Args:
        raw: Output of ``join_parts``.
        parts: Outputs of ``clean_part``.
        preprocess: The recipe's section ``preprocess`` as JSON.
        code: See ``preprocess``.
        dataset: The same dataset as ``preprocess`` writes.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[raw, *parts], outputs=[dataset]):
        from pathlib import Path

        from textgate.components.contracts import Preprocess
        from textgate.components.preprocess.preprocess import preprocess_dataset

        settings, folders = Preprocess.model_validate_json(preprocess), [Path(part.path) for part in parts]
        manifest = preprocess_dataset(Path(raw.path), settings, Path(dataset.path), folders)
        dataset.metadata.update(manifest.summary)
