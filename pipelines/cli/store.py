"""``textgate store``: the embedded S3 server of a workspace."""

import json
from pathlib import Path

import click

from textgate.components.storage import EmbeddedStore
from textgate.pipelines.cli.workspace import home_option, json_option


@click.group()
def store() -> None:
    """Start, find and stop the embedded S3 store.

    An S3 endpoint in the environment (AWS_ENDPOINT_URL_S3) takes its place everywhere else.

    \b
    Example:
      textgate store start
      textgate store status --json
    """


@store.command()
@home_option
def start(home: Path) -> None:
    """Start the store of this workspace, or find it running."""
    click.echo(f"the store answers at {EmbeddedStore(home).start().endpoint}")


@store.command()
@home_option
@json_option
def status(home: Path, as_json: bool) -> None:
    """Say whether the store runs, and where."""
    address = EmbeddedStore(home).status()
    if as_json:
        running = address is not None
        click.echo(json.dumps({"running": running, "endpoint": address.endpoint if address else None}))
    elif address is None:
        click.echo("the store is not running: textgate store start")
    else:
        click.echo(f"the store answers at {address.endpoint} (process {address.pid})")


@store.command()
@home_option
def stop(home: Path) -> None:
    """Stop the store; its data stay."""
    click.echo("stopped" if EmbeddedStore(home).stop() else "the store was not running")
