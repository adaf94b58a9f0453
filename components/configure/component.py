"""KFP component of the step ``configure``. It is never cached: it determines the present version of a source."""
# kfp takes an input with the default None for optional.
# mypy: implicit-optional
# ruff: noqa: RUF013

from typing import Any, NamedTuple

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def configure(
    recipe: str,
    source_version: str,
    run: str,
    bucket: str,
    source: str,
    model: str,
    learning_rate: float = None,
    epochs: float = None,
    batch_size: int = None,
    C: float = None,  # noqa: N803 (the recipe's key)
    min_f1: float = None,
    margin: float = None,
    max_latency_ms: float = None,
    max_size_mb: float = None,
    max_robustness_loss: float = None,
    min_slice_accuracy: float = None,
    max_rejected: float = None,
    max_near_duplicates: float = None,
    max_label_issues: float = None,
    min: dict[str, Any] = None,  # noqa: A002 (the recipe's key)
    min_recall: dict[str, Any] = None,
    min_precision: dict[str, Any] = None,
    min_test_rows: int = None,
    min_label_rows: int = None,
) -> NamedTuple(  # type: ignore[valid-type]
    "Outputs", [("recipe", str), ("source", str), ("source_version", str), ("training", str), ("model", str)]
):
    """Apply the inputs of the pipeline to the recipe, and check the result before anything else runs.

    Args:
        recipe: Recipe as JSON.
        source_version: Version of the source to read. The present one is determined if this is none, or if the source
            is not the recipe's.
        run: Name of the run.
        bucket: Bucket of the store.
        source: URI of the source.
        model: Name of the model in the registry.
        learning_rate: Key of ``train``; the following are keys of ``train`` or ``gate``, None if they are no inputs.
        epochs: Key of ``train``.
        batch_size: Key of ``train``.
        C: Key of ``train``.
        min_f1: Key of ``gate``.
        margin: Key of ``gate``.
        max_latency_ms: Key of ``gate``.
        max_size_mb: Key of ``gate``.
        max_robustness_loss: Key of ``gate``.
        min_slice_accuracy: Key of ``gate``.
        max_rejected: Key of ``gate``.
        max_near_duplicates: Key of ``gate``.
        max_label_issues: Key of ``gate``.
        min: Key of ``gate``.
        min_recall: Key of ``gate``.
        min_precision: Key of ``gate``.
        min_test_rows: Key of ``gate``.
        min_label_rows: Key of ``gate``.
    """
    inputs = {name: value for name, value in locals().items() if value is not None}

    from textgate.components.step import step_work

    with step_work():
        from textgate.components.configure.configure import configure_run
        from textgate.components.contracts import Recipe
        from textgate.components.storage import Store
        from textgate.components.storage.runs import save_configuration

        configured = configure_run(Recipe.model_validate_json(recipe), inputs, source_version, bucket)
        save_configuration(Store.from_environment(bucket), run, configured.configuration)
        changed = configured.recipe
        return (
            changed.model_dump_json(),
            changed.source.model_dump_json(),
            configured.configuration.source_version,
            changed.train.model_dump_json(),
            changed.model,
        )
