"""Files sent and received in parts: bounded memory, no limit of 5 GB, and only the part that failed is sent again.

A file that is at most one part long is one PUT or GET. A larger one appears at once when its upload is completed
(Amazon S3 user guide, "Uploading and copying objects using multipart upload"). If the process is killed before that,
the store keeps the parts, invisible, until the upload is aborted.
"""

import hashlib
import tempfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgate.components.contracts import ConflictError, InputError, StoreError, file_sha256, new_file
from textgate.components.storage.checksums import ReadVerifier, content_md5, stored_sha256
from textgate.components.storage.errors import (
    CONDITION_FAILED,
    CorruptedAnswerError,
    StoreConnectionError,
    error_code,
)

if TYPE_CHECKING:
    from textgate.components.storage.s3 import Store

PART_SIZE = 16 * 2**20
"""Bytes of a part. A file of more than 10,000 such parts has larger ones."""
_MAX_PARTS = 10_000
_READS = 5
"""Number of times that a file is received before it is given up, if it arrives with other bytes each time."""


def send_file(store: "Store", path: Path, key: str) -> None:
    """Upload a file, replacing an existing object.

    Raises:
        InputError: The file changed while it was read.
        StoreError: The store failed.
    """
    _send(store, path, key, file_sha256(path), new=False)


def send_new_file(store: "Store", path: Path, key: str, sha256: str) -> bool:
    """Upload a file unless the object exists; nothing is sent if it does.

    Args:
        store: Store to upload to.
        path: File.
        key: Key of the object.
        sha256: Hex sha256 that the file must have.

    Returns:
        False if the object exists with other content.

    Raises:
        InputError: The file has another sha256.
        StoreError: The store failed.
    """
    existing = store.head(key)
    if existing is None:
        return _send(store, path, key, sha256, new=True)
    if stored := stored_sha256(existing):
        return stored == sha256
    # An object of an earlier version.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "object"
        receive_file(store, key, copy)
        return file_sha256(copy) == sha256


def receive_file(store: "Store", key: str, path: Path, etag: str | None = None) -> None:
    """Download an object into a file and verify it.

    Args:
        store: Store to download from.
        key: Key of the object.
        path: File to write.
        etag: ETag that the object must have, such as that of a listing.

    Raises:
        ConflictError: The object does not have this ETag any more, or is replaced meanwhile.
        DamagedError: The object is not what was written.
        StoreError: The object does not exist, or the store failed.
    """
    head = store.head(key)
    if etag is not None and (head is None or head["ETag"] != etag):
        raise ConflictError(f"{store.uri(key)} was replaced or removed while it was read: run again")
    if head is None:
        raise StoreError(f"{store.uri(key)} does not exist")
    verifier = ReadVerifier(store.uri(key), tls=store.tls)
    for _ in range(_READS):
        with suppress(CorruptedAnswerError), new_file(path) as file:
            digest = verifier.new_digest(head)
            for start in range(0, head["ContentLength"], PART_SIZE):
                data = store.request(partial(_receive_part, store, key, head, start), key=key)
                digest.update(data)
                file.write(data)
            verifier.check(head, digest)
            return
    raise StoreConnectionError(f"{store.uri(key)} arrived with other bytes than were stored {_READS} times")


def _send(store: "Store", path: Path, key: str, sha256: str, *, new: bool) -> bool:
    """Upload a file; return False if the object is to be new, but exists with other content."""
    size = path.stat().st_size
    if size <= PART_SIZE:
        data = path.read_bytes()
        _require(path, hashlib.sha256(data).hexdigest() == sha256)
        if new:
            return store.put_new(key, data)
        store.put(key, data)
        return True
    target = {"Bucket": store.bucket, "Key": key}
    create = partial(store.client.create_multipart_upload, **target, Metadata={"sha256": sha256})
    created = store.request(create, key=key)
    upload = {**target, "UploadId": created["UploadId"]}
    try:
        parts: list[dict[str, Any]] = []
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while data := file.read(max(PART_SIZE, ceil(size / _MAX_PARTS))):
                digest.update(data)
                send = partial(_send_part, store, upload, len(parts) + 1, data)
                parts.append(store.request(send, size=len(data), key=key))
        _require(path, digest.hexdigest() == sha256)
        return store.request(partial(_complete, store, upload, parts, sha256, new=new), key=key)
    except BaseException:
        impatient = replace(store, patience=0)
        with suppress(StoreError):
            impatient.request(lambda: store.client.abort_multipart_upload(**upload))
        raise


def _require(path: Path, unchanged: bool) -> None:
    if not unchanged:
        raise InputError(f"{path} changed while it was uploaded: run again when it is complete")


def _send_part(store: "Store", upload: dict[str, str], number: int, data: bytes) -> dict[str, Any]:
    answer = store.client.upload_part(**upload, PartNumber=number, Body=data, ContentMD5=content_md5(data))
    return {"PartNumber": number, "ETag": answer["ETag"]}


def _complete(store: "Store", upload: dict[str, str], parts: list[dict[str, Any]], sha256: str, *, new: bool) -> bool:
    from botocore.exceptions import ClientError

    condition = {"IfNoneMatch": "*"} if new else {}
    try:
        store.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **condition)
    except ClientError as error:
        # The upload is gone or the object exists, if an earlier attempt succeeded whose answer was lost.
        if error_code(error) not in {*CONDITION_FAILED, "NoSuchUpload"} or not (existing := store.head(upload["Key"])):
            raise
        if stored_sha256(existing) == sha256:
            return True
        if not new:
            raise
        return False
    return True


def _receive_part(store: "Store", key: str, head: dict[str, Any], start: int) -> bytes:
    from botocore.exceptions import ClientError

    size, end = head["ContentLength"], min(start + PART_SIZE, head["ContentLength"])
    part = {} if size <= PART_SIZE else {"Range": f"bytes={start}-{end - 1}"}
    try:
        data = store.client.get_object(Bucket=store.bucket, Key=key, IfMatch=head["ETag"], **part)["Body"].read()
    except ClientError as error:
        if error_code(error) in CONDITION_FAILED:
            raise ConflictError(f"{store.uri(key)} was replaced or removed while it was read: run again") from error
        raise
    if len(data) != end - start:
        raise CorruptedAnswerError(store.uri(key))
    return bytes(data)
