"""``textgate schedule``: recurring runs on a cluster."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from textgate.pipelines.cli.cluster_options import cluster_options, experiment_option
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.recipe_options import RecipeSelection, recipe_options
from textgate.pipelines.cli.store_options import bucket_option, json_option
from textgate.pipelines.recipes import with_feedback_of
from textgate.pipelines.terminal import Console

if TYPE_CHECKING:
    from textgate.pipelines.runners.cluster import Cluster


class _GroupWithRecipe(click.Group):
    """Group in which ``textgate schedule RECIPE …`` is short for ``textgate schedule new RECIPE …``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["new", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_GroupWithRecipe,
    subcommand_metavar="RECIPE|COMMAND [ARGS]...",
    epilog=example(
        'textgate schedule imdb-tfidf --endpoint http://localhost:8888 --cron "0 3 * * 1"',
        "textgate schedule list --endpoint http://localhost:8888",
    ),
)
def schedule() -> None:
    """Run recipes on a cluster at fixed times.

    Runs of one schedule do not overlap, and missed runs are not made up for.
    """


@schedule.command(epilog=example('textgate schedule imdb-tfidf --endpoint http://localhost:8888 --cron "0 3 * * 1"'))
@recipe_options
@cluster_options
@bucket_option
@json_option
@experiment_option
@click.option("--cron", required=True, help="Cron expression in UTC: minute, hour, day of month, month, day of week.")
@click.option("--name", show_default="the recipe's name", help="Name of the schedule.")
def new(
    selection: RecipeSelection,
    cluster: "Cluster",
    bucket: str,
    as_json: bool,
    experiment: str | None,
    cron: str,
    name: str | None,
) -> None:
    """Run RECIPE at the times of --cron.

    Each run reads the source again.
    """
    from textgate.pipelines.runners.cron import six_fields
    from textgate.pipelines.runners.submit import RUN_ID_PLACEHOLDER, upload

    recipe = with_feedback_of(selection.recipe, bucket)
    fields = six_fields(cron)
    uploaded = upload(cluster, recipe, selection.images, selection.sweep)
    created = cluster.schedule(
        name or recipe.name,
        cluster.experiment(experiment or recipe.model),
        uploaded.reference,
        {**uploaded.inputs, "bucket": bucket, "source_version": RUN_ID_PLACEHOLDER},
        fields,
    )
    _print_schedule(created, f"{created.display_name} runs at {fields!r} (seconds first)", as_json)


@schedule.command("list", epilog=example("textgate schedule list --endpoint http://localhost:8888 --json"))
@cluster_options
@json_option
def list_(cluster: "Cluster", as_json: bool) -> None:
    """List the schedules."""
    schedules = [_as_json(recurring) for recurring in cluster.schedules()]
    if as_json:
        click.echo(json.dumps({"schedules": schedules}))
        return
    table = Table("schedule", "cron (seconds first)", "state", "identifier", box=None, pad_edge=False)
    for row in schedules:
        table.add_row(row["name"], row["cron"], row["state"], row["id"])
    Console(soft_wrap=True).print(table)


def _add_command(name: str, summary: str, outcome: str, change: "Callable[[Cluster, str], Any]") -> None:
    """Add a command that changes one schedule and prints its new state."""

    @schedule.command(
        name,
        help=f"{summary}\n\nSCHEDULE is the name or the identifier of a schedule.",
        epilog=example(f"textgate schedule {name} imdb-tfidf --endpoint http://localhost:8888"),
    )
    @click.argument("schedule")
    @cluster_options
    @json_option
    def command(schedule: str, cluster: "Cluster", as_json: bool) -> None:
        changed = change(cluster, schedule)
        _print_schedule(changed, f"{changed.display_name} {outcome}", as_json)


def _delete(cluster: "Cluster", schedule: str) -> Any:
    deleted = cluster.delete(schedule)
    deleted.status = "DELETED"
    return deleted


_add_command("pause", "Pause a schedule.", "is paused", lambda cluster, schedule: cluster.pause(schedule))
_add_command("resume", "Resume a paused schedule.", "runs again", lambda cluster, schedule: cluster.resume(schedule))
_add_command("delete", "Delete a schedule; its runs are kept.", "is deleted", _delete)


def _print_schedule(recurring: Any, sentence: str, as_json: bool) -> None:
    click.echo(json.dumps(_as_json(recurring)) if as_json else sentence)


def _as_json(recurring: Any) -> dict[str, str]:
    trigger = recurring.trigger
    cron = trigger.cron_schedule.cron if trigger and trigger.cron_schedule else ""
    states = {"ENABLED": "running", "DISABLED": "paused", "DELETED": "deleted"}
    state = states.get(recurring.status or "ENABLED", "unknown")
    return {"name": recurring.display_name, "id": recurring.recurring_run_id, "cron": cron, "state": state}
