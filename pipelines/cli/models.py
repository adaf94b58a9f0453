"""``textgate models``: list, inspect, move and roll back registry models."""

import json
from pathlib import Path

import click
from rich.table import Table

from textgate.components.contracts import DamagedError
from textgate.components.contracts.formatting import megabytes
from textgate.components.storage import (
    ChannelUpdate,
    ModelRef,
    Registry,
    plan_repair,
    repair_channel,
    repaired_channel,
    roll_back,
)
from textgate.components.storage.removal import removals
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.registry_models import model_argument, model_card, version_option
from textgate.pipelines.cli.store_options import json_option, store_options
from textgate.pipelines.terminal import Console
from textgate.pipelines.workspace import open_store


@click.group(
    epilog=example("textgate models list --json", "textgate models rollback quickstart --reason 'too many complaints'")
)
def models() -> None:
    """List, inspect, move and roll back the models in the registry."""


@models.command("list", epilog=example("textgate models list", "textgate models list --json"))
@store_options
@json_option
def list_(workspace: Path, bucket: str, as_json: bool) -> None:
    """List the models and the version of each channel.

    Versions that were rolled back, and so are blocked, are listed as channel "blocked". A channel that cannot be read
    is named in a warning and left out.
    """
    registry = Registry(open_store(workspace, bucket))
    by_model = registry.models()
    blocked = {
        model: [block.version for block in registry.blocks(model).all() if not block.lifted] for model in by_model
    }
    if as_json:
        output = [
            {"model": model, "channels": channels, **({"blocked": blocked[model]} if blocked[model] else {})}
            for model, channels in by_model.items()
        ]
        click.echo(json.dumps({"models": output}))
    elif not by_model:
        click.echo("no models yet: textgate run quickstart")
    else:
        table = Table("model", "channel", "version", box=None, pad_edge=False)
        for model, channels in by_model.items():
            for channel, version in channels.items():
                table.add_row(model, channel, version)
            for version in blocked[model]:
                table.add_row(model, "blocked", version)
        Console().print(table)


@models.command(epilog=example("textgate models show quickstart", "textgate models show quickstart --json"))
@click.argument("model")
@version_option
@store_options
@json_option
def show(model: str, version: str | None, workspace: Path, bucket: str, as_json: bool) -> None:
    """Show a version of MODEL.

    Shows recipe, labels, runtime, size, metrics and channel updates.
    """
    registry = Registry(open_store(workspace, bucket))
    version = version or registry.resolve(ModelRef(model))
    bundle = registry.bundle(model, version)
    updates = [update for update in registry.history(model) if update.version == version]
    if as_json:
        output = {
            "model": model,
            "version": version,
            "bundle": bundle.model_dump(mode="json"),
            "moves": [update.model_dump(mode="json") for update in updates],
        }
        click.echo(json.dumps(output, ensure_ascii=False))
        return
    size = sum(entry.size for entry in bundle.files.values())
    lines = [
        ("model", f"{model} {version}"),
        ("recipe", f"{bundle.name} ({bundle.family})"),
        ("labels", ", ".join(bundle.labels)),
        ("runtime", bundle.runtime.name),
        ("size", megabytes(size)),
        ("metrics", ", ".join(f"{name} {value:.4g}" for name, value in bundle.metrics.items())),
        *[("moved", f"{update.time} to {update.channel} by {update.actor}: {update.reason}") for update in updates],
    ]
    for title, text in lines:
        click.echo(f"{title:<9} {text}")


@models.command(epilog=example("textgate models card quickstart", "textgate models card quickstart@challenger"))
@model_argument
@store_options
@json_option
def card(model: str, workspace: Path, bucket: str, as_json: bool) -> None:
    """Print the model card of MODEL in Markdown."""
    registry, reference = Registry(open_store(workspace, bucket)), ModelRef.parse(model)
    version = registry.resolve(reference)
    text = model_card(registry, reference.model, version)
    output = {"model": reference.model, "version": version, "card": text}
    click.echo(json.dumps(output, ensure_ascii=False) if as_json else text)


@models.command(epilog=example("textgate models history quickstart"))
@click.argument("model")
@store_options
@json_option
def history(model: str, workspace: Path, bucket: str, as_json: bool) -> None:
    """Show the moves, blocks and removed versions of MODEL.

    Each line says who moved a channel, or blocked or removed a version, when and why, newest first. Moves are in the
    order in which they were made, even if the clocks of those who made them differ.
    """
    registry = Registry(open_store(workspace, bucket))
    updates, blocks = registry.history(model), registry.blocks(model).all()
    removed = removals(registry.store, model)
    if as_json:
        output = {
            "moves": [update.model_dump(mode="json") for update in updates],
            **({"blocks": [block.model_dump(mode="json") for block in blocks]} if blocks else {}),
            **({"removals": [removal.model_dump(mode="json") for removal in removed]} if removed else {}),
        }
        click.echo(json.dumps(output, ensure_ascii=False))
        return
    events = [
        (made.time, f"{made.time}  {block.version} {event}  {made.actor}: {made.reason}")
        for block in blocks
        for event, made in (("unblocked", block.lifted), ("blocked", block.blocked))
        if made
    ]
    for removal in removed:
        made = removal.removed
        events.append((made.time, f"{made.time}  {removal.version} removed  {made.actor}: {made.reason}"))
    events.sort(reverse=True)
    # Blocks and removals are not part of the chain, so they are placed by time; moves keep the order of the chain.
    for update in updates:
        while events and events[0][0] > update.time:
            click.echo(events.pop(0)[1])
        click.echo(f"{update.time}  {_move_text(update)}  {update.actor}: {update.reason}")
    for _, line in events:
        click.echo(line)


def _move_text(update: ChannelUpdate) -> str:
    before = f" (before: {update.previous})" if update.previous else ""
    return f"{update.channel} -> {update.version}{before}"


@models.command(
    epilog=example(
        "textgate models rollback quickstart --reason 'calls praise a complaint'",
        "textgate models rollback quickstart --from 0c3f8a71b2de --to 605127f62e6b --reason 'calls praise a complaint'",
    )
)
@click.argument("model")
@click.option(
    "--to",
    "version",
    show_default="the last champion before it that is not blocked",
    help="Former champion to restore.",
)
@click.option(
    "--from",
    "replaced",
    metavar="VERSION",
    show_default="the champion when the command starts",
    help="Version to roll back from; if it was rolled back already, nothing changes.",
)
@click.option("--reason", help="Reason for the audit log and for a later decision on the same version; required.")
@store_options
@json_option
def rollback(
    model: str,
    version: str | None,
    replaced: str | None,
    reason: str | None,
    workspace: Path,
    bucket: str,
    as_json: bool,
) -> None:
    """Restore an earlier champion of MODEL and block the current one.

    Each rollback goes back to the champion before, never forward. If another version than --from is the champion, the
    command changes nothing and its exit code is 5. A run that produces the blocked version again is rejected until
    textgate models unblock lifts the block.
    """
    if reason is None:
        raise click.UsageError(
            "say why with --reason TEXT: the audit log and the decision of a later run on the same version quote it"
        )
    registry = Registry(open_store(workspace, bucket))
    update = roll_back(registry, model, version, run="rollback", reason=reason, replaced=replaced)
    if as_json:
        click.echo(update.model_dump_json())
    else:
        click.echo(f"{model}: champion is {update.version} again; {update.previous} is blocked")


@models.command(epilog=example("textgate models unblock quickstart 605127f62e6b --reason 'the labels were wrong'"))
@click.argument("model")
@click.argument("version")
@click.option("--reason", default="lifted by hand", help="Reason for the audit log.")
@store_options
@json_option
def unblock(model: str, version: str, reason: str, workspace: Path, bucket: str, as_json: bool) -> None:
    """Allow a rolled-back VERSION of MODEL to become champion again."""
    block = Registry(open_store(workspace, bucket)).unblock(model, version, reason=reason)
    click.echo(block.model_dump_json() if as_json else f"{model}: {version} is no longer blocked")


@models.command(epilog=example("textgate models move films challenger 605127f62e6b"))
@click.argument("model")
@click.argument("channel", type=click.Choice(["challenger", "shadow", "reference"]))
@click.argument("version")
@click.option("--reason", default="moved by hand", help="Reason for the audit log.")
@store_options
@json_option
def move(model: str, channel: str, version: str, reason: str, workspace: Path, bucket: str, as_json: bool) -> None:
    """Point CHANNEL of MODEL to VERSION.

    The server answers some requests with the challenger, and compares the shadow without showing its answers. The
    reference is the champion that no later one was shown to be better than; move it by hand to accept a worse one. The
    champion cannot be moved by hand: a run that passes its gates, or a rollback, moves it.
    """
    registry = Registry(open_store(workspace, bucket))
    current = repaired_channel(registry, model, channel, run="move")
    expected = current.version if current else None
    update = registry.update_channel(model, version, run="move", reason=reason, expected=expected, channel=channel)
    click.echo(update.model_dump_json() if as_json else f"{model}: {channel} is {update.version}")


@models.command(epilog=example("textgate models repair films --dry-run", "textgate models repair films"))
@click.argument("model")
@click.option("--channel", show_default="every channel", help="Channel to repair.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@store_options
@json_option
def repair(model: str, channel: str | None, dry_run: bool, workspace: Path, bucket: str, as_json: bool) -> None:
    """Rebuild the channels of MODEL that cannot be read.

    A channel that cannot be read is pointed at the version of its last update in the audit log that is intact and not
    blocked; the audit log says so. The exit code is 4 if a channel then still points at no intact version.
    """
    registry = Registry(open_store(workspace, bucket))
    registry.versions(model)  # raises if the model does not exist
    repairs = [
        plan_repair(registry, model, name) if dry_run else repair_channel(registry, model, name, run="repair")
        for name in ([channel] if channel else registry.channel_log(model).names())
    ]
    if as_json:
        output = [{**repair.model_dump(), "repaired": bool(repair.damage and repair.version)} for repair in repairs]
        click.echo(json.dumps({"model": model, "dry_run": dry_run, "channels": output}))
    else:
        for repair in repairs:
            click.echo(f"{model}: {'would be: ' if dry_run and repair.damage else ''}{repair.message}")
    if damaged := [repair.channel for repair in repairs if not repair.complete]:
        raise DamagedError(f"{', '.join(damaged)} of {model} still points at no intact version")
