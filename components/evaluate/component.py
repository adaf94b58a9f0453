"""KFP component of the evaluation step."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    settings: str,
    code: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
    out_of_domain: dsl.Input[list[dsl.Dataset]] = None,
    export: str = "",
) -> None:
    """Evaluate a bundle on the test split.

    Args:
        dataset: Dataset from preprocess.
        model: Bundle to evaluate, trained or exported.
        settings: The recipe's section ``evaluate`` as JSON, reduced to the analyses of this bundle.
        code: Code version of the step; it only varies the cache key, which cannot see imported code.
        evaluation: Predictions, scores and analyses.
        metrics: F1 and accuracy with their intervals, for the KFP UI.
        classification: Confusion matrix, and the ROC curve for two labels, for the KFP UI.
        export: For a trained bundle whose recipe sets ``export.threshold``: the keys ``threshold`` and
            ``min_precision`` as JSON.
        out_of_domain: Datasets of ``evaluate.out_of_domain`` from ingest, in the order of their names.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[dataset, model, *(out_of_domain or [])], outputs=[evaluation, metrics, classification]):
        from pathlib import Path

        from textgate.components.contracts import EvaluateSettings, Export, write_file
        from textgate.components.evaluate.evaluate import evaluate_bundle
        from textgate.components.metrics import roc_points

        analyses = EvaluateSettings.model_validate_json(settings)
        datasets = [Path(artifact.path) for artifact in out_of_domain or []]
        result = evaluate_bundle(
            Path(dataset.path),
            Path(model.path),
            Path(evaluation.path),
            analyses,
            dict(zip(analyses.out_of_domain, datasets, strict=True)),
            Export.model_validate_json(export) if export else None,
        )
        labels = result.manifest.labels
        for name, estimate in (("f1", result.manifest.f1), ("accuracy", result.manifest.accuracy)):
            metrics.log_metric(name, estimate.value)
            metrics.log_metric(f"{name}_low", estimate.low)
            metrics.log_metric(f"{name}_high", estimate.high)
        classification.log_confusion_matrix(labels, result.manifest.confusion)
        # KFP stores these two as metadata only. kfp.local takes an artifact without a file for a lost one, and would
        # never find this step in its cache.
        write_file(Path(metrics.path), result.manifest.model_dump_json())
        write_file(Path(classification.path), result.manifest.model_dump_json())
        if len(labels) == 2:
            classification.log_roc_curve(*roc_points(result.truth, result.probabilities[:, 1]))
