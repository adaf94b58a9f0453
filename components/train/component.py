"""KFP door of train."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    dataset: dsl.Input[dsl.Dataset],
    name: str,
    training: str,
    code: str,
    model: dsl.Output[dsl.Model],
) -> None:
    """Train one model.

    Args:
        dataset: What preprocess made.
        name: The recipe's name.
        training: The recipe's section ``train`` as JSON.
        code: Version of the step's code; unused, it varies the cache key, which cannot see imported code.
        model: The trained bundle.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from pydantic import TypeAdapter

        from textgate.components.contracts import Training
        from textgate.components.families import Surroundings
        from textgate.components.storage.fetch import default_downloads, fetch
        from textgate.components.train.train import train_bundle

        settings = TypeAdapter(Training).validate_json(training)
        uri = getattr(settings, "checkpoint", None)
        checkpoint = fetch(uri, default_downloads()) if uri else None
        bundle = train_bundle(Path(dataset.path), name, settings, Path(model.path), Surroundings(checkpoint))
        model.metadata.update({"family": bundle.family, "fingerprint": bundle.fingerprint, **bundle.metrics})
