"""``textgate gc``: remove what nothing needs from the store and the workspace."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from textgate.components.contracts import ConflictError, InputError, StoreError
from textgate.components.contracts.formatting import megabytes
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.store_options import json_option, store_options
from textgate.pipelines.workspace import open_store

if TYPE_CHECKING:
    from textgate.pipelines.garbage import Garbage

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class _Age(click.ParamType[timedelta]):
    """A number of days, hours, minutes or seconds, such as 30d."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
        if match is None and value != "0":
            self.fail(f"{value!r} is no age: a number and a unit, such as 30d, 12h, 5m or 10s", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()


@dataclass
class _Result:
    """Garbage that was removed, and sentences about what was not."""

    dry_run: bool
    removed: list[dict[str, object]] = field(default_factory=list)
    in_use: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(int(str(item["bytes"])) for item in self.removed)


@click.command(
    epilog=example("textgate gc --dry-run", "textgate gc --older-than 7d --keep-champions 1", "textgate gc --json")
)
@click.option("--dry-run", is_flag=True, help="List what would be removed.")
@click.option("--older-than", type=_Age(), default="30d", help="Age from which finished things are removed.")
@click.option("--grace", type=_Age(), default="1d", help="Age from which unfinished things are removed.")
@click.option(
    "--keep-champions", type=click.IntRange(0), default=3, help="Earlier champions to keep for a rollback, at any age."
)
@click.option("--downloads", is_flag=True, help="Include downloads, which all workspaces of a user share.")
@store_options
@json_option
def gc(
    dry_run: bool,
    older_than: timedelta,
    grace: timedelta,
    keep_champions: int,
    downloads: bool,
    workspace: Path,
    bucket: str,
    as_json: bool,
) -> None:
    """Remove versions, runs and files that nothing needs.

    Also removed are checkpoints of abandoned trainings, uploads that were never completed, cache entries,
    temporary files of killed processes, and containers of killed runs.

    Kept are versions that a channel points at, champions since --older-than, the last --keep-champions before the
    current one, blocked versions, and the runs that they come from; the audit log, the records of runs and the logs of
    servers; and everything younger than --grace, which must be longer than the longest upload.
    """
    from textgate.components.sources import default_downloads
    from textgate.pipelines.garbage import Retention, find_store_garbage, find_workspace_garbage, no_runs

    retention = Retention(max(older_than, grace), grace, keep_champions)
    store, result = open_store(workspace, bucket), _Result(dry_run)
    found = find_store_garbage(store, retention)
    result.skipped += found.problems
    _remove(found.items, result, as_json)
    try:
        with no_runs(workspace):
            if not found.problems:
                shared = default_downloads() if downloads else None
                items = find_workspace_garbage(workspace, shared, found.needed, retention)
                _remove(items, result, as_json)
    except ConflictError as error:
        result.skipped.append(str(error))
    if as_json:
        click.echo(json.dumps({**vars(result), "bytes": result.bytes}))
    else:
        counts = Counter(str(item["kind"]) for item in result.removed)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nothing"
        click.echo(f"{'would remove' if dry_run else 'removed'} {kinds}: {megabytes(result.bytes)}")
    for sentence in (*result.skipped, *result.failed):
        click.echo(f"Warning: {sentence}", err=True)
    if result.failed:
        raise StoreError(f"{len(result.failed)} of {len(result.removed) + len(result.failed)} could not be removed")


def _remove(items: list["Garbage"], result: _Result, quiet: bool) -> None:
    """Remove items, unless it is a dry run, and print a line for each."""
    for item in items:
        try:
            if not result.dry_run and not item.remove():
                result.in_use += 1
                continue
        except (InputError, OSError) as error:
            result.failed.append(f"{item.name} could not be removed: {error}")
            continue
        result.removed.append({name: value for name, value in vars(item).items() if name != "remove"})
        if not quiet:
            click.echo(f"{item.kind:<18}  {megabytes(item.bytes):>10}  {item.name}  ({item.reason})")
