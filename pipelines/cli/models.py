"""``textgate models``: what the registry holds, and which of it is champion."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from textgate.components.storage import ModelRef, Registry
from textgate.pipelines.cli.publish import model_card
from textgate.pipelines.cli.workspace import json_option, open_store, store_options


@click.group()
def models() -> None:
    """List, inspect and roll back the models in the registry.

    \b
    Example:
      textgate models list --json
      textgate models rollback quickstart
    """


@models.command("list")
@store_options
@json_option
def list_(home: Path, bucket: str, as_json: bool) -> None:
    """List the models and where their channels point."""
    found = Registry(open_store(home, bucket)).models()
    if as_json:
        click.echo(
            json.dumps({"models": [{"model": model, "channels": channels} for model, channels in found.items()]})
        )
    elif not found:
        click.echo("no models yet: textgate run quickstart")
    else:
        table = Table("model", "channel", "version", box=None, pad_edge=False)
        for model, channels in found.items():
            for channel, version in channels.items():
                table.add_row(model, channel, version)
        Console().print(table)


@models.command()
@click.argument("model")
@click.option("--version", help="A version other than the champion.")
@store_options
@json_option
def show(model: str, version: str | None, home: Path, bucket: str, as_json: bool) -> None:
    """Show a version of MODEL: what it is, how it was trained, and what the gates said."""
    registry = Registry(open_store(home, bucket))
    version = version or registry.resolve(ModelRef(model))
    bundle = registry.bundle(model, version)
    moves = [move for move in registry.history(model) if move.version == version]
    if as_json:
        click.echo(
            json.dumps(
                {
                    "model": model,
                    "version": version,
                    "bundle": bundle.model_dump(mode="json"),
                    "moves": [move.model_dump(mode="json") for move in moves],
                },
                ensure_ascii=False,
            )
        )
        return
    size = sum(entry.size for entry in bundle.files.values())
    lines = [
        ("model", f"{model} {version}"),
        ("recipe", f"{bundle.name} ({bundle.family})"),
        ("answers", f"{', '.join(bundle.labels)} on {bundle.runtime.name}"),
        ("size", f"{size / 1e6:,.1f} MB"),
        ("metrics", ", ".join(f"{name} {value:.4g}" for name, value in bundle.metrics.items())),
        *[("moved", f"{move.time} to {move.channel} by {move.actor}: {move.reason}") for move in moves],
    ]
    for name, text in lines:
        click.echo(f"{name:<9} {text}")


@models.command()
@click.argument("model", metavar="MODEL[@CHANNEL|@VERSION]")
@store_options
@json_option
def card(model: str, home: Path, bucket: str, as_json: bool) -> None:
    """Print the model card of MODEL, as it goes to the hub with it."""
    registry, target = Registry(open_store(home, bucket)), ModelRef.parse(model)
    version = registry.resolve(target)
    text = model_card(registry, target.model, version)
    said = {"model": target.model, "version": version, "card": text}
    click.echo(json.dumps(said, ensure_ascii=False) if as_json else text)


@models.command()
@click.argument("model")
@store_options
@json_option
def history(model: str, home: Path, bucket: str, as_json: bool) -> None:
    """Show who moved MODEL's channels, when and why, newest first."""
    moves = Registry(open_store(home, bucket)).history(model)
    if as_json:
        click.echo(json.dumps({"moves": [move.model_dump(mode="json") for move in moves]}, ensure_ascii=False))
        return
    for move in moves:
        before = f" (before: {move.previous})" if move.previous else ""
        click.echo(f"{move.time}  {move.channel} -> {move.version}{before}  {move.actor}: {move.reason}")


@models.command()
@click.argument("model")
@click.option("--to", "version", help="Version to return to; the champion before this one without it.")
@store_options
@json_option
def rollback(model: str, version: str | None, home: Path, bucket: str, as_json: bool) -> None:
    """Make an earlier version of MODEL champion again."""
    move = Registry(open_store(home, bucket)).rollback(model, version, run="rollback", reason="rolled back by hand")
    if as_json:
        click.echo(move.model_dump_json())
    else:
        click.echo(f"{model}: champion is {move.version} again, before {move.previous}")


@models.command(epilog="Example: textgate models move films challenger 605127f62e6b")
@click.argument("model")
@click.argument("channel", type=click.Choice(["challenger", "shadow"]))
@click.argument("version")
@click.option("--reason", default="moved by hand", help="For the audit.")
@store_options
@json_option
def move(model: str, channel: str, version: str, reason: str, home: Path, bucket: str, as_json: bool) -> None:
    """Point CHANNEL of MODEL at VERSION, for an endpoint to answer some requests with, or to compare unseen.

    The champion is moved by a run that passes its gates, or by a rollback, and not by hand.
    """
    registry = Registry(open_store(home, bucket))
    now = registry.channel(model, channel)
    expected = now.version if now else None
    moved = registry.update_channel(model, version, run="move", reason=reason, expected=expected, channel=channel)
    click.echo(moved.model_dump_json() if as_json else f"{model}: {channel} is {moved.version}")
