"""KFP door of merge_quantize."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def merge_quantize(model: dsl.Input[dsl.Model], code: str, merged: dsl.Output[dsl.Model]) -> None:
    """Merge the adapter of a trained bundle, if it has one.

    Args:
        model: The trained bundle.
        code: Version of the step's code; unused, it varies the cache key, which cannot see imported code.
        merged: The bundle without an adapter.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.merge_quantize.merge_quantize import merge_bundle

        bundle = merge_bundle(Path(model.path), Path(merged.path))
        merged.metadata["fingerprint"] = bundle.fingerprint
