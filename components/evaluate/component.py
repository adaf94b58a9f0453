"""KFP door of evaluate."""

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
) -> None:
    """Judge one bundle on the test split.

    Args:
        dataset: What preprocess made.
        model: The bundle, trained or exported.
        settings: What of the recipe's section ``evaluate`` is asked of this bundle, as JSON.
        code: Version of the step's code; unused, it varies the cache key, which cannot see imported code.
        evaluation: Every answer and the metrics.
        metrics: F1 and accuracy with their intervals, for the KFP page.
        classification: Confusion matrix, and ROC curve where there are two labels, for the KFP page.
        out_of_domain: The data sets of ``evaluate.out_of_domain`` as ingest made them, in the order of its names.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import EvaluateSettings, TrainingCost
        from textgate.components.evaluate.evaluate import evaluate_bundle
        from textgate.components.metrics import roc_points

        asked = EvaluateSettings.model_validate_json(settings)
        told = model.metadata
        result = evaluate_bundle(
            Path(dataset.path),
            Path(model.path),
            Path(evaluation.path),
            asked,
            TrainingCost(seconds=told["seconds"], peak_memory=int(told["peak_memory"])) if "seconds" in told else None,
            dict(zip(asked.out_of_domain, [Path(other.path) for other in out_of_domain or []], strict=True)),
        )
        labels = result.manifest.labels
        for name, estimate in (("f1", result.manifest.f1), ("accuracy", result.manifest.accuracy)):
            metrics.log_metric(name, estimate.value)
            metrics.log_metric(f"{name}_low", estimate.low)
            metrics.log_metric(f"{name}_high", estimate.high)
        classification.log_confusion_matrix(labels, result.manifest.confusion)
        # KFP keeps these two as metadata; kfp.local takes an artifact without a file for one that was lost, and would
        # never find this step in its cache.
        Path(metrics.path).write_text(result.manifest.model_dump_json(), "utf-8")
        Path(classification.path).write_text(result.manifest.model_dump_json(), "utf-8")
        if len(labels) == 2:
            classification.log_roc_curve(*roc_points(result.classes, result.probabilities[:, 1]))
