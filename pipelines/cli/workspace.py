"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from textgate.components.storage import DEFAULT_BUCKET, Store, connect

home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".textgate"),
    envvar="TEXTGATE_HOME",
    show_default=True,
    help="Workspace: the embedded store, runs and caches.",
)
bucket_option = click.option(
    "--bucket", default=DEFAULT_BUCKET, envvar="TEXTGATE_BUCKET", show_default=True, help="Bucket of the store."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --home and --bucket."""
    return home_option(bucket_option(command))


def open_store(home: Path, bucket: str) -> Store:
    """The store the environment names, or the workspace's embedded one, started when it is not running."""
    connect(home)
    store = Store.from_environment(bucket)
    store.ensure_bucket()
    return store
