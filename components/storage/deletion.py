"""Deletion of many objects and of incomplete uploads, and the store's clock, by which their age is measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from textgate.components.contracts import StoreError
from textgate.components.storage.errors import access_denied
from textgate.components.storage.s3 import Store

_LEASES = "removing/"
_BATCH = 1000
"""Limit of S3, see DeleteObjects in the Amazon S3 API reference."""


@dataclass(frozen=True)
class IncompleteUpload:
    """Multipart upload that was neither completed nor aborted; its parts take space and are in no listing."""

    key: str
    upload: str
    """Identifier of the upload."""
    begun: datetime
    """Time of its first request, by the store's clock."""
    size: int
    """Bytes of its parts."""


def store_time(store: Store) -> datetime:
    """Return the time of the store's clock, in whole seconds: that of the Date header of a listing.

    Everybody who compares ages may list the leases; HEAD of the bucket needs the right to list all of it.
    """
    request = partial(store.client.list_objects_v2, Bucket=store.bucket, Prefix=_LEASES, MaxKeys=1)
    response = store.request(request, key=_LEASES)
    return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])


def delete_objects(store: Store, keys: list[str]) -> None:
    """Delete objects, 1,000 in a request.

    Raises:
        AccessDeniedError: The key of the store has no right to delete an object.
        StoreError: The store does not answer, or an object could not be deleted.
    """
    for first in range(0, len(keys), _BATCH):
        batch = {"Objects": [{"Key": key} for key in keys[first : first + _BATCH]], "Quiet": True}
        answer = store.request(partial(store.client.delete_objects, Bucket=store.bucket, Delete=batch))
        for error in answer.get("Errors", []):
            if error.get("Code") == "AccessDenied":
                where = f"the store at {store.client.meta.endpoint_url}"
                raise access_denied(where, "delete", store.uri(error["Key"]), error["Key"])
            raise StoreError(f"{store.uri(error['Key'])} could not be deleted: {error.get('Message')}")


def incomplete_uploads(store: Store) -> Iterator[IncompleteUpload]:
    """Yield the multipart uploads that were neither completed nor aborted."""
    where = {"Bucket": store.bucket}
    for page in _pages(store, "list_multipart_uploads", where, ("KeyMarker", "UploadIdMarker")):
        for item in page.get("Uploads", []):
            upload = {**where, "Key": item["Key"], "UploadId": item["UploadId"]}
            parts = _pages(store, "list_parts", upload, ("PartNumberMarker",))
            size = sum(part["Size"] for answer in parts for part in answer.get("Parts", []))
            yield IncompleteUpload(item["Key"], item["UploadId"], item["Initiated"], size)


def abort_upload(store: Store, upload: IncompleteUpload) -> None:
    """Abort a multipart upload and delete its parts."""
    request = store.client.abort_multipart_upload
    store.request(partial(request, Bucket=store.bucket, Key=upload.key, UploadId=upload.upload))


def _pages(
    store: Store, operation: str, arguments: dict[str, Any], markers: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Yield the pages of a listing whose next page begins after ``markers``."""
    start: dict[str, Any] = {}
    while True:
        page = store.request(partial(getattr(store.client, operation), **arguments, **start))
        yield page
        if not page.get("IsTruncated"):
            return
        start = {marker: page[f"Next{marker}"] for marker in markers}
