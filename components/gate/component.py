"""KFP components of the two gates.

They are never cached: gate 2 reads the current champion, and both save their decision under the name of their run.
"""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate_trained(
    dataset: dsl.Input[dsl.Dataset],
    trained: dsl.Input[dsl.Artifact],
    recipe: str,
    run: str,
    bucket: str,
    decision: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    label_issues: dsl.Input[dsl.Artifact] = None,
    sweep: dsl.Input[dsl.Artifact] = None,
) -> bool:
    """Gate 1: check that the trained model reaches the absolute thresholds.

    Args:
        dataset: Dataset from preprocess, for the report.
        trained: Evaluation of the trained bundle.
        recipe: Recipe as JSON.
        run: Name of the run.
        bucket: Bucket of the store.
        decision: Decision as JSON.
        report: Report as an HTML page.
        label_issues: Training texts whose label looks wrong; none if they are not looked for.
        sweep: Score of each combination of a sweep, for the report.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[dataset, trained, label_issues, sweep], outputs=[decision, report]):
        from pathlib import Path

        from textgate.components.contracts import Recipe
        from textgate.components.gate.gate import gate_trained_model
        from textgate.components.storage import Registry, Store
        from textgate.components.storage.runs import load_changes, save_decision, save_report

        store = Store.from_environment(bucket)
        result = gate_trained_model(
            Path(dataset.path),
            Path(trained.path),
            Registry(store),
            Recipe.model_validate_json(recipe),
            run,
            Path(decision.path),
            Path(report.path),
            Path(label_issues.path) if label_issues else None,
            Path(sweep.path) if sweep else None,
            load_changes(store, run),
        )
        save_report(store, run, Path(report.path))
        save_decision(store, run, result)
        return result.passed


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate_served(
    dataset: dsl.Input[dsl.Dataset],
    served: dsl.Input[dsl.Artifact],
    trained: dsl.Input[dsl.Artifact],
    merge: dsl.Input[dsl.Artifact],
    measurements: dsl.Input[dsl.Artifact],
    exported: dsl.Input[dsl.Model],
    recipe: str,
    run: str,
    bucket: str,
    decision: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    card: dsl.Output[dsl.Markdown],
    label_issues: dsl.Input[dsl.Artifact] = None,
    sweep: dsl.Input[dsl.Artifact] = None,
) -> bool:
    """Gate 2: check that the exported model may become champion.

    Args:
        dataset: Dataset from preprocess, for the report.
        served: Evaluation of the exported bundle.
        trained: Evaluation of the trained bundle, on the same texts.
        merge: Effect of merging an adapter into its base model.
        measurements: Accuracy, size and speed of every export target.
        exported: Exported bundle; it is timed together with the champion if the recipe asks for a faster model.
        recipe: Recipe as JSON.
        run: Name of the run.
        bucket: Bucket of the store.
        decision: Decision as JSON.
        report: Report as an HTML page.
        card: Model card.
        label_issues: Training texts whose label looks wrong; none if they are not looked for.
        sweep: Score of each combination of a sweep, for the report.
    """
    from textgate.components.step import step_work

    with step_work(
        inputs=[dataset, served, trained, merge, measurements, exported, label_issues, sweep],
        outputs=[decision, report, card],
    ):
        from pathlib import Path

        from textgate.components.contracts import Recipe
        from textgate.components.gate.gate import ServedModelInputs, ServedModelOutputs, gate_served_model
        from textgate.components.storage import Registry, Store
        from textgate.components.storage.runs import (
            load_changes,
            save_card,
            save_decision,
            save_evaluation,
            save_report,
            save_test_sample,
        )

        store = Store.from_environment(bucket)
        inputs = ServedModelInputs(
            dataset=Path(dataset.path),
            served=Path(served.path),
            trained=Path(trained.path),
            merge=Path(merge.path),
            measurements=Path(measurements.path),
            exported=Path(exported.path),
            label_issues=Path(label_issues.path) if label_issues else None,
            sweep=Path(sweep.path) if sweep else None,
        )
        outputs = ServedModelOutputs(decision=Path(decision.path), report=Path(report.path), card=Path(card.path))
        judged, changes = Recipe.model_validate_json(recipe), load_changes(store, run)
        result = gate_served_model(inputs, Registry(store), judged, run, outputs, changes)
        save_evaluation(store, run, Path(served.path))
        save_test_sample(store, run, Path(served.path))
        save_card(store, run, Path(card.path))
        save_report(store, run, Path(report.path))
        save_decision(store, run, result)
        return result.passed
