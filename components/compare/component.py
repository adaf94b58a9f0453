"""KFP component of the comparison step."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare(
    dataset: dsl.Input[dsl.Dataset],
    systems: dsl.Input[list[dsl.Model]],
    failed: list[str],
    recipes: str,
    limits: str,
    code: str,
    comparison: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    exported: dsl.Output[dsl.Model],
    trained: dsl.Output[dsl.Artifact],
    merge: dsl.Output[dsl.Artifact],
    measurements: dsl.Output[dsl.Artifact],
    recipe: dsl.OutputPath(str),  # type: ignore[valid-type]
    settings: dsl.OutputPath(str),  # type: ignore[valid-type]
) -> bool:
    """Compare the systems of several recipes, and pass on the files of the winner; return whether there is one.

    Args:
        dataset: Dataset on which all systems were trained and evaluated.
        systems: Files of each system, in the order of the recipes.
        failed: Error of each system as a sentence, or an empty string.
        recipes: JSON list of the recipes.
        limits: Cost limits of the winner, as JSON.
        code: Code version of the step; it only varies the cache key, which cannot see imported code.
        comparison: Systems, differences and winner, as JSON.
        page: Comparison as an HTML page.
        exported: Exported bundle of the winner.
        trained: Evaluation of the winner's trained bundle.
        merge: Effect of merging the winner's adapter into its base model.
        measurements: Accuracy, size and speed of every export target of the winner.
        recipe: Recipe of the winner, as JSON.
        settings: The winner's section ``evaluate`` as JSON, reduced to the analyses of the exported bundle.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[dataset, *systems], outputs=[comparison, page, exported, trained, merge, measurements]):
        import json
        import shutil
        from pathlib import Path

        from textgate.components.compare.compare import compare_systems
        from textgate.components.compare.page import write_comparison_page
        from textgate.components.contracts import Recipe, new_folder, write_file
        from textgate.components.contracts.comparison import EXPORTED, MEASUREMENTS, MERGE, TRAINED, CostLimits

        compared = [Recipe.model_validate(values) for values in json.loads(recipes)]
        folders = [Path(system.path) for system in systems]
        result = compare_systems(Path(dataset.path), compared, failed, folders, CostLimits.model_validate_json(limits))
        write_file(Path(comparison.path), result.model_dump_json(indent=2) + "\n")
        write_comparison_page(Path(page.path), result, compared)
        names = [one.name for one in compared]
        index = names.index(result.winner) if result.winner else None
        if index is not None:
            for name, artifact in ((EXPORTED, exported), (TRAINED, trained)):
                with new_folder(Path(artifact.path)) as folder:
                    shutil.copytree(folders[index] / name, folder, dirs_exist_ok=True)
            write_file(Path(merge.path), (folders[index] / MERGE).read_bytes())
            write_file(Path(measurements.path), (folders[index] / MEASUREMENTS).read_bytes())
        # KFP requires a value for both parameters; without a winner, no step reads them.
        winner = compared[index or 0]
        write_file(Path(recipe), winner.model_dump_json())
        write_file(Path(settings), winner.evaluate.for_winner.model_dump_json())
        return index is not None
