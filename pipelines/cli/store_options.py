"""Options of commands that use a workspace and its store: ``--workspace``, ``--bucket``, ``--json``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from textgate.components.storage import DEFAULT_BUCKET, Store, connect

workspace_option = click.option(
    "--workspace",
    "--home",
    "workspace",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".textgate"),
    envvar=["TEXTGATE_WORKSPACE", "TEXTGATE_HOME"],
    help="Folder of the embedded store, the runs and the caches.",
)
bucket_option = click.option(
    "--bucket", default=DEFAULT_BUCKET, envvar="TEXTGATE_BUCKET", help="S3 bucket of the models and the runs."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--workspace`` and ``--bucket`` to a command."""
    return workspace_option(bucket_option(command))


def open_store(workspace: Path, bucket: str) -> Store:
    """Open the S3 store of the environment, or else the workspace's embedded store, which is started if needed.

    The bucket is created if it does not exist.

    Raises:
        InputError: If the store cannot be reached or refuses the credentials.
    """
    connect(workspace)
    store = Store.from_environment(bucket)
    store.ensure_bucket()
    return store
