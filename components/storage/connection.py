"""Connection of this process to the S3 store of its environment, or else to the embedded store of a workspace."""

import os
from pathlib import Path

from textgate.components.contracts import InputError
from textgate.components.storage.embedded import EmbeddedStore
from textgate.components.storage.s3_settings import endpoint


def connect(workspace: Path) -> None:
    """Set the AWS variables of this process to the workspace's embedded store, unless an endpoint is set already.

    It may be set in the environment or in boto3's configuration file.

    Args:
        workspace: Folder of the workspace; its store is started if it does not run.
    """
    if endpoint() is None:
        store = EmbeddedStore(workspace)
        store.start()
        os.environ.update(store.environment())
        # It belongs to other keys.
        os.environ.pop("AWS_SESSION_TOKEN", None)


def connect_if_possible(workspace: Path) -> InputError | None:
    """Connect as ``connect`` does, or else to where the workspace's embedded store answers when it runs again.

    Returns:
        The reason why the embedded store does not start; None if it runs, or an endpoint is set already.
    """
    if endpoint() is not None:
        return None
    try:
        connect(workspace)
    except InputError as error:
        os.environ.update(EmbeddedStore(workspace).last_environment())
        return error
    return None
