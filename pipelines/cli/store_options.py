"""Options of commands that use a workspace and its store: ``--workspace``, ``--bucket``, ``--json``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from textgate.components.storage import DEFAULT_BUCKET
from textgate.pipelines.workspace import DEFAULT_WORKSPACE

workspace_option = click.option(
    "--workspace",
    "--home",
    "workspace",
    type=click.Path(file_okay=False, readable=False, path_type=Path),
    default=DEFAULT_WORKSPACE,
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
