"""KFP component of the step ``merge_quantize``."""

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
    """Merge a trained bundle with its base model, if it needs one.

    Args:
        model: Trained bundle.
        trained: Evaluation of the trained bundle; the merged bundle predicts its texts again.
        code: Version of the step's code; unused, but part of KFP's cache key, which does not cover imported code.
        merged: Merged bundle, which needs no base model.
        changes: Difference that merging made on the test split, as JSON; ``null`` if nothing was merged.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[model, trained], outputs=[merged, changes]):
        from pathlib import Path

        from textgate.components.contracts import write_file
        from textgate.components.merge_quantize.merge_quantize import compare_merged, merge_bundle

        bundle = merge_bundle(Path(model.path), Path(merged.path))
        changed = compare_merged(Path(merged.path), bundle, Path(trained.path))
        write_file(Path(changes.path), changed.model_dump_json(indent=2) if changed else "null")
        merged.metadata["fingerprint"] = bundle.fingerprint
