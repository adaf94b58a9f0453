"""Models of the registry on this machine: downloaded, loaded for prediction, with their cards."""

from dataclasses import dataclass
from pathlib import Path

import click

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.inference import Predictor
from textgate.components.sources import default_downloads, fetch
from textgate.components.storage import ModelRef, Registry
from textgate.components.storage.runs import load_card
from textgate.pipelines.workspace import download_bundle, open_store

model_argument = click.argument("model", metavar="MODEL[@CHANNEL|@VERSION]")
version_option = click.option("--version", show_default="the champion", help="Version of the model.")


@dataclass(frozen=True)
class LoadedModel:
    """Version of a registry model, loaded for prediction."""

    model: str
    version: str
    bundle: ModelBundle
    predictor: Predictor


def load_model(workspace: Path, bucket: str, model: str) -> LoadedModel:
    """Load ``model``, ``model@channel`` or ``model@version`` as it is served; Hugging Face bundles run on torch.

    Raises:
        InputError: If the model or version does not exist, the channel is empty, or a file of the bundle has changed.
    """
    reference = ModelRef.parse(model)
    version, folder = download_bundle(workspace, Registry(open_store(workspace, bucket)), reference)
    bundle = ModelBundle.load(folder)

    from textgate.components.families import open_predictor

    base_model = fetch(bundle.base_model, default_downloads()) if bundle.base_model else None
    return LoadedModel(reference.model, version, bundle, open_predictor(folder, bundle, base_model))


def model_card(registry: Registry, model: str, version: str) -> str:
    """Return the model card written by the run that promoted a version.

    Raises:
        InputError: If no run has left a card for this version.
    """
    updates = [update for update in registry.history(model) if update.version == version]
    for update in reversed(updates):
        if (text := load_card(registry.store, update.run)) is not None:
            return text
    name = registry.bundle(model, version).name
    raise InputError(
        f"no run has left a model card for {model} {version}: the run that promotes a version writes its card, "
        f"so promote one anew: textgate run {name}"
    )
