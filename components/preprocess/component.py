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
