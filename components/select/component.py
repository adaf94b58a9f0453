"""KFP components of the step ``select``: for a sweep on one dataset, and for a sweep that also varies the dataset."""

from typing import TYPE_CHECKING

from kfp import dsl

from textgate.components.image import IMAGE

if TYPE_CHECKING:
    from textgate.components.contracts.metric_names import GateMetric


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def select(
    models: dsl.Input[list[dsl.Model]],
    settings: str,
    metric: str,
    code: str,
    model: dsl.Output[dsl.Model],
    table: dsl.Output[dsl.Artifact],
) -> None:
    """Choose the best model of a sweep by its score on the validation split.

    Args:
        models: Trained bundles, in the order of the sweep.
        settings: Swept settings of each model, as a JSON list.
        metric: Metric that chooses, the recipe's ``gate.metric``.
        code: Version of the step's code; unused, but part of KFP's cache key, which does not cover imported code.
        model: The best bundle; the first of equal ones.
        table: Settings and validation score of every model, as JSON.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[*models], outputs=[model, table]):
        import json
        from pathlib import Path
        from typing import cast

        from textgate.components.select.select import select_best

        folders = [Path(candidate.path) for candidate in models]
        best = select_best(
            folders, json.loads(settings), cast("GateMetric", metric), Path(model.path), Path(table.path)
        )
        model.metadata.update(models[best].metadata)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def select_with_dataset(
    models: dsl.Input[list[dsl.Model]],
    datasets: dsl.Input[list[dsl.Dataset]],
    settings: str,
    metric: str,
    code: str,
    model: dsl.Output[dsl.Model],
    dataset: dsl.Output[dsl.Dataset],
    table: dsl.Output[dsl.Artifact],
) -> None:
    """Choose the best model of a sweep by its score on the validation split, and the dataset it was trained on.

    Args:
        models: Trained bundles, in the order of the sweep.
        datasets: Dataset of each model.
        settings: Swept settings of each model, as a JSON list.
        metric: Metric that chooses, the recipe's ``gate.metric``.
        code: Version of the step's code; unused, but part of KFP's cache key, which does not cover imported code.
        model: The best bundle; the first of equal ones.
        dataset: Dataset of the best model.
        table: Settings and validation score of every model, as JSON.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[*models, *datasets], outputs=[model, dataset, table]):
        import json
        import shutil
        from pathlib import Path
        from typing import cast

        from textgate.components.contracts import new_folder
        from textgate.components.select.select import select_best

        folders = [Path(candidate.path) for candidate in models]
        best = select_best(
            folders, json.loads(settings), cast("GateMetric", metric), Path(model.path), Path(table.path)
        )
        model.metadata.update(models[best].metadata)
        with new_folder(Path(dataset.path)) as folder:
            shutil.copytree(datasets[best].path, folder, dirs_exist_ok=True)
        dataset.metadata.update(datasets[best].metadata)
