"""KFP door of merge_quantize."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def merge_quantize(
    model: dsl.Input[dsl.Model],
    trained: dsl.Input[dsl.Artifact],
    code: str,
    merged: dsl.Output[dsl.Model],
    changes: dsl.Output[dsl.Artifact],
) -> None:
    """Merge the adapter of a trained bundle, if it has one.

    Args:
        model: The trained bundle.
        trained: Its evaluation, whose texts the merged bundle is asked again.
        code: Version of the step's code; unused, it varies the cache key, which cannot see imported code.
        merged: The bundle without an adapter.
        changes: What merging changed on the test split.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.merge_quantize.merge_quantize import compare_merged, merge_bundle

        bundle = merge_bundle(Path(model.path), Path(merged.path))
        changed = compare_merged(Path(merged.path), bundle, Path(trained.path))
        Path(changes.path).write_text(changed.model_dump_json(indent=2) if changed else "null", "utf-8")
        merged.metadata["fingerprint"] = bundle.fingerprint
