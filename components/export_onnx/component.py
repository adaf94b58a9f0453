"""KFP component of the export step."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def export_onnx(
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    export: str,
    code: str,
    exported: dsl.Output[dsl.Model],
    measurements: dsl.Output[dsl.Artifact],
) -> None:
    """Export the merged model, measure every export target and calibrate the one to serve.

    Args:
        dataset: Dataset from preprocess; its validation split chooses the target and calibrates the bundle.
        model: Merged bundle.
        export: The recipe's section ``export`` as JSON.
        code: Code version of the step; it only varies the cache key, which cannot see imported code.
        exported: Bundle to serve.
        measurements: Accuracy, size and speed of every export target.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[dataset, model], outputs=[exported, measurements]):
        from pathlib import Path

        from textgate.components.contracts import Export
        from textgate.components.export_onnx.export_onnx import export_bundle

        bundle, results = export_bundle(
            Path(model.path),
            Path(dataset.path),
            Export.model_validate_json(export),
            Path(exported.path),
        )
        results.write(Path(measurements.path))
        exported.metadata["fingerprint"] = bundle.fingerprint
