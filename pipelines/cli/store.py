"""``textgate store``: the embedded S3 server of a workspace, and the keys of a cluster's store."""

import json
from pathlib import Path

import click

from textgate.components.storage import EmbeddedStore
from textgate.pipelines.cli.access import access
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.store_options import json_option, workspace_option


@click.group(epilog=example("textgate store start", "textgate store status --json"))
def store() -> None:
    """Run the embedded S3 store, and make keys for another.

    All other commands use the endpoint in AWS_ENDPOINT_URL_S3 instead of the embedded store if it is set.
    """


@store.command(epilog=example("textgate store start", "textgate store start --workspace /data/textgate"))
@workspace_option
def start(workspace: Path) -> None:
    """Start the store of the workspace unless it is running."""
    click.echo(f"the store is running at {EmbeddedStore(workspace).start().endpoint}")


@store.command(epilog=example("textgate store status", "textgate store status --json"))
@workspace_option
@json_option
def status(workspace: Path, as_json: bool) -> None:
    """Show whether the store is running, and its address."""
    address = EmbeddedStore(workspace).status()
    if as_json:
        endpoint, answers = (address.endpoint, address.answers) if address else (None, False)
        click.echo(json.dumps({"running": address is not None, "answers": answers, "endpoint": endpoint}))
    elif address is None:
        click.echo("the store is not running: textgate store start")
    elif address.answers:
        click.echo(f"the store is running at {address.endpoint} (process {address.pid})")
    else:
        process = f"the store at {address.endpoint} (process {address.pid})"
        click.echo(f"{process} does not answer; if that lasts, end it: textgate store stop")


@store.command(epilog=example("textgate store stop"))
@workspace_option
def stop(workspace: Path) -> None:
    """Stop the store; its data are kept."""
    click.echo("stopped" if EmbeddedStore(workspace).stop() else "the store was not running")


store.add_command(access)
