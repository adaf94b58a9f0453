"""KFP doors of the two gates.

Neither is cached: gate 2 reads the champion, and both leave their decision under the run they belong to.
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
    sweep: dsl.Input[dsl.Artifact] = None,
) -> bool:
    """Gate 1: does the trained model reach the absolute thresholds?

    Args:
        dataset: What preprocess made, for the report.
        trained: Evaluation of the trained bundle.
        recipe: The whole recipe as JSON.
        run: Name of the run.
        bucket: Bucket of the store.
        decision: The decision as JSON.
        report: The decision as a page.
        sweep: What each combination of a sweep reached, for the report.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import Recipe
        from textgate.components.gate.gate import gate_trained_model
        from textgate.components.storage import Store
        from textgate.components.storage.runs import save_decision

        result = gate_trained_model(
            Path(dataset.path),
            Path(trained.path),
            Recipe.model_validate_json(recipe),
            Path(decision.path),
            Path(report.path),
            Path(sweep.path) if sweep else None,
        )
        save_decision(Store.from_environment(bucket), run, result)
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
    sweep: dsl.Input[dsl.Artifact] = None,
) -> bool:
    """Gate 2: may the model that would be served become champion?

    Args:
        dataset: What preprocess made, for the report.
        served: Evaluation of the exported bundle.
        trained: Evaluation of the trained bundle, on the same texts.
        merge: What merging an adapter changed.
        measurements: What every target keeps and costs.
        exported: The bundle that would be served, to time it beside the champion where the recipe asks for that.
        recipe: The whole recipe as JSON.
        run: Name of the run.
        bucket: Bucket of the store.
        decision: The decision as JSON.
        report: The decision as a page.
        card: The model card.
        sweep: What each combination of a sweep reached, for the report.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.components.contracts import Recipe
        from textgate.components.gate.gate import gate_served_model
        from textgate.components.storage import Registry, Store
        from textgate.components.storage.runs import save_card, save_decision, save_evaluation

        store = Store.from_environment(bucket)
        result = gate_served_model(
            Path(dataset.path),
            Path(served.path),
            Path(trained.path),
            Path(merge.path),
            Path(measurements.path),
            Path(exported.path),
            Registry(store),
            Recipe.model_validate_json(recipe),
            Path(decision.path),
            Path(report.path),
            Path(card.path),
            Path(sweep.path) if sweep else None,
        )
        save_evaluation(store, run, Path(served.path))
        save_card(store, run, Path(card.path))
        save_decision(store, run, result)
        return result.passed
