"""Downloads of exactly the objects of a listing: each request carries the listed ETag (If-Match, RFC 9110)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textgate.components.contracts import ConflictError, InputError
from textgate.components.storage.s3 import ObjectSummary, Store

_ABSENT = {"404", "NoSuchKey"}


def download_listed(store: Store, item: ObjectSummary, path: Path) -> None:
    """Download a listed object into a file.

    Raises:
        ConflictError: The object has been replaced or deleted since it was listed.
        InputError: The store refuses the request or does not answer.
    """
    from boto3.s3.transfer import TransferConfig, create_transfer_manager
    from botocore.exceptions import ClientError
    from s3transfer.exceptions import S3DownloadFailedError

    path.parent.mkdir(parents=True, exist_ok=True)
    with store._input_errors(), create_transfer_manager(store.client, TransferConfig()) as manager:
        try:
            manager.download(store.bucket, item.key, str(path), subscribers=[_IfMatch(item)]).result()
        except S3DownloadFailedError as error:  # 412
            raise ConflictError(f"{store.uri(item.key)} was replaced while it was read: run again") from error
        except ClientError as error:
            if str(error.response["Error"]["Code"]) in _ABSENT:
                raise ConflictError(f"{store.uri(item.key)} was removed while it was read: run again") from error
            raise


def download_listed_folder(store: Store, prefix: str, items: Sequence[ObjectSummary], folder: Path) -> None:
    """Download listed objects below ``prefix``, which ends with a slash, into a folder.

    Raises:
        InputError: A key leads outside the folder; or see ``download_listed``.
        ConflictError: See ``download_listed``.
    """
    folder.mkdir(exist_ok=True)
    for item in items:
        path = folder / item.key.removeprefix(prefix)
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"the key {store.uri(item.key)} would be written outside the folder it is read into")
        if not item.key.endswith("/"):
            download_listed(store, item, path)


class _IfMatch:
    """Subscriber that gives s3transfer size and ETag, for which it would otherwise ask with HEAD."""

    def __init__(self, item: ObjectSummary) -> None:
        self._item = item

    def on_queued(self, future: Any, **_: object) -> None:
        future.meta.provide_transfer_size(self._item.size)
        future.meta.provide_object_etag(self._item.etag)
