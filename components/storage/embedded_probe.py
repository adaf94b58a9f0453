"""Probe of an embedded store: it is ready as soon as it stores an object."""

import contextlib
import re
import time
from pathlib import Path
from typing import Any

from textgate.components.storage.embedded_secrets import credentials
from textgate.components.storage.embedded_server import Server

_PROBE_SECONDS = 60.0
_POLL_SECONDS = 0.1
_BUCKET = "textgate-probe"


def find_problem(server: Server, folder: Path) -> str | None:
    """Return None as soon as the server stores an object, or the reason why it does not within a minute."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = _client(server.endpoint, folder)
    deadline = time.monotonic() + _PROBE_SECONDS
    problem = "it does not answer"
    while time.monotonic() < deadline:
        if not server.is_alive():
            return _last_error(folder) or "it ended at once"
        try:
            _store_object(client)
        except (BotoCoreError, ClientError) as error:
            problem = str(error)
        else:
            return None
        time.sleep(_POLL_SECONDS)
    return problem


def _client(address: str, folder: Path) -> Any:
    import boto3
    from botocore.config import Config

    identity, secret = credentials(folder)
    config = Config(
        s3={"addressing_style": "path"},
        proxies={},
        connect_timeout=1,
        read_timeout=2,
        retries={"max_attempts": 0},
    )
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=identity,
        aws_secret_access_key=secret,
        config=config,
    )


def _store_object(client: Any) -> None:
    """Write, read and delete an object; after a restart, the first write takes up to five seconds."""
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=_BUCKET)
    client.put_object(Bucket=_BUCKET, Key="probe", Body=b"textgate")
    client.get_object(Bucket=_BUCKET, Key="probe")["Body"].read()
    client.delete_object(Bucket=_BUCKET, Key="probe")


def _last_error(folder: Path) -> str | None:
    """Return the last error in the server's log."""
    log = (folder / "weed.log").read_text("utf-8", "replace")
    errors = re.findall(r"^(?:[EF]\d{4} \S+ \S+|panic:|fatal error:) (.+)$", log, re.MULTILINE)
    return errors[-1] if errors else None
