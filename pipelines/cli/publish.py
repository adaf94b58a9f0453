"""``textgate publish``: a version of the registry and its card, for everybody on the Hugging Face hub."""

import json
from pathlib import Path

import click

from textgate.components.contracts import InputError
from textgate.components.storage import ModelRef, Registry
from textgate.components.storage.runs import load_card
from textgate.pipelines.cli.predict import local_bundle
from textgate.pipelines.cli.workspace import json_option, open_store, store_options


@click.command(epilog="Example: HF_TOKEN=… textgate publish quickstart --to hf://org/quickstart --private")
@click.argument("model", metavar="MODEL[@CHANNEL|@VERSION]")
@click.option("--to", required=True, metavar="hf://ORG/NAME", help="The repository; it is made if there is none.")
@click.option("--private", is_flag=True, help="Make it private; a public one is refused then.")
@click.option("--revision", metavar="BRANCH", help="Branch to push to; it is made if there is none.  [default: main]")
@click.option("--dry-run", is_flag=True, help="Say what would be pushed, without asking the hub.")
@store_options
@json_option
def publish(
    model: str, to: str, private: bool, revision: str | None, dry_run: bool, home: Path, bucket: str, as_json: bool
) -> None:
    """Push MODEL, by default its champion, and its model card to the Hugging Face hub, in one commit.

    The token is taken from HF_TOKEN; HF_ENDPOINT names another hub than huggingface.co.
    """
    from textgate.pipelines.hub import contents, push, repository

    name = repository(to)
    registry, target = Registry(open_store(home, bucket)), ModelRef.parse(model)
    version, folder, bundle = local_bundle(home, registry, target)
    files = contents(folder, bundle, model_card(registry, target.model, version), name)
    sizes = {path: len(file) if isinstance(file, bytes) else file.stat().st_size for path, file in files.items()}
    said = {"model": target.model, "version": version, "to": to, "revision": revision or "main", "files": sizes}
    if dry_run:
        if as_json:
            click.echo(json.dumps({**said, "dry_run": True}))
            return
        for path, size in sizes.items():
            click.echo(f"{size:>13,}  {path}")
        click.echo(f"{sum(sizes.values()):>13,}  bytes of {target.model} {version} would be pushed to {to}")
        return
    message = f"{target.model} {version}"
    pushed = push(name, files, message, private=private, branch=revision)
    if as_json:
        click.echo(json.dumps({**said, "url": pushed.url, "commit": pushed.commit, "changed": pushed.changed}))
    elif pushed.changed:
        click.echo(f"{target.model} {version} is at {pushed.url}, commit {pushed.commit[:12]}")
    else:
        click.echo(f"nothing changed: {pushed.url} holds {target.model} {version} already")


def model_card(registry: Registry, model: str, version: str) -> str:
    """The card that the run left which made a version champion.

    Raises:
        InputError: there is none.
    """
    moves = [move for move in registry.history(model) if move.version == version]
    for move in reversed(moves):
        if (found := load_card(registry.store, move.run)) is not None:
            return found
    name = registry.bundle(model, version).name
    raise InputError(
        f"no run has left a model card for {model} {version}: the run that promotes a version writes its card, "
        f"so promote one anew: textgate run {name}"
    )
