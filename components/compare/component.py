"""KFP door of compare."""

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
    """Compare the systems of several recipes, and hand on what the winner of them left; is there one?

    Args:
        dataset: What all were trained and evaluated on.
        systems: What each made, in the order of the recipes.
        failed: Why each made nothing, or an empty string.
        recipes: The whole recipes, as a JSON list.
        limits: What the winner may cost, as JSON.
        code: Version of the step's code; unused, it varies the cache key, which cannot see imported code.
        comparison: Every system and every difference, as JSON.
        page: The same as a page.
        exported: The winner's bundle that would be served.
        trained: The evaluation of its trained bundle.
        merge: What merging its adapter changed.
        measurements: What every target of its export keeps and costs.
        recipe: Its recipe, as JSON.
        settings: What of its section ``evaluate`` is asked of the bundle that would be served, as JSON.
    """
    from textgate.components.step import step_work

    with step_work():
        import json
        import shutil
        from pathlib import Path

        from textgate.components.compare.compare import compare_systems
        from textgate.components.compare.page import write_comparison
        from textgate.components.contracts import Recipe
        from textgate.components.contracts.comparison import EXPORTED, MEASUREMENTS, MERGE, TRAINED, CostLimits

        asked = [Recipe.model_validate(one) for one in json.loads(recipes)]
        folders = [Path(system.path) for system in systems]
        found = compare_systems(Path(dataset.path), asked, failed, folders, CostLimits.model_validate_json(limits))
        Path(comparison.path).write_text(found.model_dump_json(indent=2) + "\n", "utf-8")
        write_comparison(Path(page.path), found, asked)
        winners = [number for number, one in enumerate(asked) if one.name == found.winner]
        for number in winners:
            shutil.copytree(folders[number] / EXPORTED, exported.path)
            shutil.copytree(folders[number] / TRAINED, trained.path)
            shutil.copyfile(folders[number] / MERGE, merge.path)
            shutil.copyfile(folders[number] / MEASUREMENTS, measurements.path)
        # Both need a value, which nobody reads where there is no winner.
        whole = asked[winners[0] if winners else 0]
        Path(recipe).write_text(whole.model_dump_json(), "utf-8")
        Path(settings).write_text(whole.evaluate.for_served_model.model_dump_json(), "utf-8")
        return bool(winners)
