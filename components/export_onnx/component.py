"""KFP door of export_onnx."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def export_onnx(
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    trained: dsl.Input[dsl.Artifact],
    export: str,
    code: str,
    exported: dsl.Output[dsl.Model],
    measurements: dsl.Output[dsl.Artifact],
) -> None:
    """Make the bundle that would be served.

    Args:
        dataset: What preprocess made; the split ``validation`` calibrates the answers.
        model: The merged bundle.
        trained: Evaluation of the trained bundle, which every target is compared to.
        export: The recipe's section ``export`` as JSON.
        code: Version of the step's code; unused, it varies the cache key, which cannot see imported code.
        exported: The bundle that answers without torch.
        measurements: What every target keeps and costs.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import Export
        from textgate.components.export_onnx.export_onnx import export_bundle

        bundle, measured = export_bundle(
            Path(model.path),
            Path(dataset.path),
            Path(trained.path),
            Export.model_validate_json(export),
            Path(exported.path),
        )
        measured.write(Path(measurements.path))
        exported.metadata["fingerprint"] = bundle.fingerprint
