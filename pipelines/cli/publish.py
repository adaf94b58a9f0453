"""``textgate publish``: push a model version to the Hugging Face hub, or register it in MLflow or Kubeflow."""

import json
from pathlib import Path

import click

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.storage import ModelRef, Registry
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.registry_models import model_argument, model_card
from textgate.pipelines.cli.store_options import json_option, store_options
from textgate.pipelines.workspace import download_bundle, open_store


@click.command(
    epilog=example(
        "HF_TOKEN=… textgate publish quickstart --to hf://org/quickstart --private",
        "textgate publish quickstart@challenger --to hf://org/quickstart --revision trial --dry-run",
        "textgate publish quickstart --to mlflow://quickstart --server http://mlflow:5000",
    )
)
@model_argument
@click.option(
    "--to",
    required=True,
    metavar="URI",
    help="hf://ORG/NAME: hub repository; mlflow://NAME or model-registry://NAME: registered model. Created if it does "
    "not exist.",
)
@click.option(
    "--server",
    metavar="URL",
    show_default="MLFLOW_TRACKING_URI, MODEL_REGISTRY_URL",
    help="Server of mlflow:// or model-registry://.",
)
@click.option("--private", is_flag=True, help="Create a private repository; an existing public one is refused.")
@click.option(
    "--revision", metavar="BRANCH", show_default="main", help="Branch to push to, created if it does not exist."
)
@click.option("--dry-run", is_flag=True, help="List what would be sent without contacting the hub or server.")
@store_options
@json_option
def publish(
    model: str,
    to: str,
    server: str | None,
    private: bool,
    revision: str | None,
    dry_run: bool,
    workspace: Path,
    bucket: str,
    as_json: bool,
) -> None:
    """Push a model to a hub, or register it in another registry.

    On the Hugging Face hub, one commit has the files of MODEL, by default its champion, and its model card. The token
    is read from HF_TOKEN. HF_ENDPOINT selects a hub other than huggingface.co.

    MLflow and the Kubeflow Model Registry get the address of the bundle on S3, its fingerprint and its scores, no
    files. Publishing a version again changes nothing.
    """
    from textgate.pipelines.registration import parse_address

    if address := parse_address(to):
        if private or revision:
            raise InputError(f"--private and --revision are for hf://, not for {to}")
        _register(model, to, address, server, dry_run, workspace, bucket, as_json)
        return
    if server:
        raise InputError(f"--server is for mlflow:// and model-registry://, not for {to}")

    from textgate.pipelines.hub_upload import contents, push, repository

    name = repository(to)
    registry, reference = Registry(open_store(workspace, bucket)), ModelRef.parse(model)
    version, folder = download_bundle(workspace, registry, reference)
    bundle = ModelBundle.load(folder)
    files = contents(folder, bundle, model_card(registry, reference.model, version), name)
    sizes = {path: len(file) if isinstance(file, bytes) else file.stat().st_size for path, file in files.items()}
    output = {"model": reference.model, "version": version, "to": to, "revision": revision or "main", "files": sizes}
    if dry_run:
        if as_json:
            click.echo(json.dumps({**output, "dry_run": True}))
            return
        for path, size in sizes.items():
            click.echo(f"{size:>13,}  {path}")
        click.echo(f"{sum(sizes.values()):>13,}  bytes of {reference.model} {version} would be pushed to {to}")
        return
    title = f"{reference.model} {version}"
    pushed = push(name, files, title, private=private, branch=revision)
    if as_json:
        click.echo(json.dumps({**output, "url": pushed.url, "commit": pushed.commit, "changed": pushed.changed}))
    elif pushed.changed:
        click.echo(f"{title} is at {pushed.url}, commit {pushed.commit[:12]}")
    else:
        click.echo(f"nothing changed: {pushed.url} holds {title} already")


def _register(
    model: str,
    to: str,
    address: tuple[str, str],
    server: str | None,
    dry_run: bool,
    workspace: Path,
    bucket: str,
    as_json: bool,
) -> None:
    """Register a version in another registry, and print the result."""
    from textgate.pipelines.registration import Registration, register, server_address

    scheme, name = address
    url = server_address(scheme, server)
    registry, reference = Registry(open_store(workspace, bucket)), ModelRef.parse(model)
    version = registry.resolve(reference)
    registration = Registration.of(registry, reference.model, version, name)
    title = f"{reference.model} {version}"
    output = {"model": reference.model, "version": version, "to": to, "source": registration.uri}
    if dry_run:
        details = {**output, "tags": registration.tags, "dry_run": True}
        lines = [f"{title} would be registered as {to}, from {registration.uri}"]
        lines += [f"  {key}: {value}" for key, value in registration.tags.items()]
        click.echo(json.dumps(details) if as_json else "\n".join(lines))
        return
    registered = register(scheme, url, registration)
    if as_json:
        click.echo(json.dumps({**output, "id": registered.id, "changed": registered.changed}))
    elif registered.changed:
        click.echo(f"{title} is registered as {to}, version {registered.id}, from {registration.uri}")
    else:
        click.echo(f"nothing changed: {to} holds {title} already, as version {registered.id}")
