"""KFP door of export_onnx."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def export_onnx(
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    export: str,
    code: str,
    exported: dsl.Output[dsl.Model],
) -> None:
    """Make the bundle that would be served.

    Args:
        dataset: What preprocess made; the split ``validation`` calibrates the answers.
        model: The merged bundle.
        export: The recipe's section ``export`` as JSON.
        code: Version of the step's code; unused, it varies the cache key, which cannot see imported code.
        exported: The bundle that answers without torch.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import Export
        from textgate.components.export_onnx.export_onnx import export_bundle

        bundle = export_bundle(
            Path(model.path), Path(dataset.path), Export.model_validate_json(export), Path(exported.path)
        )
        exported.metadata["fingerprint"] = bundle.fingerprint
