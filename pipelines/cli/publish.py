"""``textgate publish``: push a model version and its card to the Hugging Face hub."""

import json
from pathlib import Path

import click

from textgate.components.contracts import ModelBundle
from textgate.components.storage import ModelRef, Registry
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.registry_models import model_argument, model_card
from textgate.pipelines.cli.store_options import json_option, store_options
from textgate.pipelines.workspace import download_bundle, open_store


@click.command(
    epilog=example(
        "HF_TOKEN=… textgate publish quickstart --to hf://org/quickstart --private",
        "textgate publish quickstart@challenger --to hf://org/quickstart --revision trial --dry-run",
    )
)
@model_argument
@click.option("--to", required=True, metavar="hf://ORG/NAME", help="Hub repository, created if it does not exist.")
@click.option("--private", is_flag=True, help="Create a private repository; an existing public one is refused.")
@click.option(
    "--revision", metavar="BRANCH", show_default="main", help="Branch to push to, created if it does not exist."
)
@click.option("--dry-run", is_flag=True, help="List the files without contacting the hub.")
@store_options
@json_option
def publish(
    model: str,
    to: str,
    private: bool,
    revision: str | None,
    dry_run: bool,
    workspace: Path,
    bucket: str,
    as_json: bool,
) -> None:
    """Push a model and its card to the Hugging Face hub.

    One commit has the files of MODEL, by default its champion, and its model card. The token is read from HF_TOKEN.
    HF_ENDPOINT selects a hub other than huggingface.co.
    """
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
