"""``textgate schedule``: recurring runs on a cluster."""

import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from textgate.pipelines.cli.cluster import cluster_options, experiment_option
from textgate.pipelines.cli.recipe import Chosen, recipe_options
from textgate.pipelines.cli.workspace import bucket_option, json_option

if TYPE_CHECKING:
    from textgate.pipelines.runners.cluster import Cluster


class _WithRecipe(click.Group):
    """Takes ``textgate schedule RECIPE …`` for ``textgate schedule new RECIPE …``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["new", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_WithRecipe, subcommand_metavar="RECIPE|COMMAND [ARGS]...")
def schedule() -> None:
    """Run a recipe again and again on a cluster: one run at a time, and none is caught up on.

    \b
    Example:
      textgate schedule imdb-tfidf --endpoint http://localhost:8888 --source s3://textgate/imdb.csv --cron "0 3 * * 1"
      textgate schedule list --endpoint http://localhost:8888
    """


@schedule.command(epilog='Example: textgate schedule imdb-tfidf --endpoint http://localhost:8888 --cron "0 3 * * 1"')
@recipe_options
@cluster_options
@bucket_option
@json_option
@experiment_option
@click.option(
    "--cron", required=True, help="Minute, hour, day of the month, month, day of the week, in the cluster's time: UTC."
)
@click.option("--name", help="Of the schedule.  [default: the recipe's]")
def new(
    chosen: Chosen,
    cluster: "Cluster",
    bucket: str,
    as_json: bool,
    experiment: str | None,
    cron: str,
    name: str | None,
) -> None:
    """Run RECIPE at the times of --cron; each run reads the source anew."""
    from textgate.pipelines.runners.cron import six_fields
    from textgate.pipelines.runners.submit import RUN_ID_PLACEHOLDER, upload

    fields = six_fields(cron)
    uploaded = upload(cluster, chosen.recipe, chosen.images, chosen.sweep)
    made = cluster.schedule(
        name or chosen.recipe.name,
        cluster.experiment(experiment or chosen.recipe.model),
        uploaded.reference,
        {"bucket": bucket, "source_version": RUN_ID_PLACEHOLDER},
        fields,
    )
    _say(made, f"{made.display_name} runs at {fields!r} (seconds first)", as_json)


@schedule.command("list", epilog="Example: textgate schedule list --endpoint http://localhost:8888 --json")
@cluster_options
@json_option
def list_(cluster: "Cluster", as_json: bool) -> None:
    """List the schedules."""
    found = list(cluster.schedules())
    if as_json:
        click.echo(json.dumps({"schedules": [_as_json(one) for one in found]}))
        return
    table = Table("schedule", "cron (seconds first)", "state", "identifier", box=None, pad_edge=False)
    for one in map(_as_json, found):
        table.add_row(one["name"], one["cron"], one["state"], one["id"])
    Console(soft_wrap=True).print(table)


@schedule.command(epilog="Example: textgate schedule pause imdb-tfidf --endpoint http://localhost:8888")
@click.argument("schedule")
@cluster_options
@json_option
def pause(schedule: str, cluster: "Cluster", as_json: bool) -> None:
    """Start no more runs of SCHEDULE, a name or identifier, until it is resumed."""
    found = cluster.pause(schedule)
    _say(found, f"{found.display_name} is paused", as_json)


@schedule.command(epilog="Example: textgate schedule resume imdb-tfidf --endpoint http://localhost:8888")
@click.argument("schedule")
@cluster_options
@json_option
def resume(schedule: str, cluster: "Cluster", as_json: bool) -> None:
    """Start runs of SCHEDULE again, from its next time on."""
    found = cluster.resume(schedule)
    _say(found, f"{found.display_name} runs again", as_json)


@schedule.command(epilog="Example: textgate schedule delete imdb-tfidf --endpoint http://localhost:8888")
@click.argument("schedule")
@cluster_options
@json_option
def delete(schedule: str, cluster: "Cluster", as_json: bool) -> None:
    """Remove SCHEDULE; what it has run stays."""
    found = cluster.delete(schedule)
    found.status = "DELETED"
    _say(found, f"{found.display_name} is deleted", as_json)


def _say(found: Any, sentence: str, as_json: bool) -> None:
    click.echo(json.dumps(_as_json(found)) if as_json else sentence)


def _as_json(found: Any) -> dict[str, str]:
    trigger = found.trigger
    cron = trigger.cron_schedule.cron if trigger and trigger.cron_schedule else ""
    state = {"ENABLED": "running", "DISABLED": "paused", "DELETED": "deleted"}.get(found.status or "ENABLED", "unknown")
    return {"name": found.display_name, "id": found.recurring_run_id, "cron": cron, "state": state}
