"""KFP component of the step check_labels."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def check_labels(
    dataset: dsl.Input[dsl.Dataset], texts: int, seed: int, code: str, label_issues: dsl.Output[dsl.Artifact]
) -> None:
    """Find training texts whose label looks wrong.

    Args:
        dataset: Dataset from preprocess.
        texts: Largest number of training texts to check, the recipe's ``evaluate.label_check_texts``.
        seed: Seed of the sample and of the folds, the recipe's ``evaluate.seed``.
        code: Version of the step's code. Not used by the code: it is part of the cache key.
        label_issues: Counts, and a CSV file with the texts, the most suspect first.
    """
    from textgate.components.step import WARNING_PREFIX, step_work

    with step_work(inputs=[dataset], outputs=[label_issues]):
        from pathlib import Path

        from textgate.components.check_labels.label_check import check_dataset
        from textgate.components.contracts.label_issues import TABLE

        manifest = check_dataset(Path(dataset.path), texts, seed, Path(label_issues.path))
        if manifest.issues:
            print(f"{WARNING_PREFIX}{manifest.message} (see {label_issues.uri}/{TABLE})", flush=True)
