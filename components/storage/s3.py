"""One bucket of any S3-compatible store, through boto3.

The registry depends on conditional writes: PUT with If-None-Match and If-Match, as in the Amazon S3 API reference,
PutObject. Stores answer a failed condition with 404, 409 or 412, so all three are treated alike.

One policy repeats every request (``retries``), every object is written and read with checksums (``checksums``), and
large files are sent and received in parts (``transfers``).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from textgate.components.contracts import InputError
from textgate.components.storage.checksums import ReadVerifier, content_md5
from textgate.components.storage.errors import (
    ABSENT,
    CONDITION_FAILED,
    AccessDeniedError,
    CorruptedAnswerError,
    error_code,
)
from textgate.components.storage.s3_settings import new_client
from textgate.components.storage.transfers import receive_file, send_file, send_new_file

DEFAULT_BUCKET = "textgate"
PATIENCE = 60.0
"""Seconds for which a request is repeated."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ObjectContent:
    """Content of an object, and the ETag that a conditional write compares."""

    data: bytes
    etag: str


@dataclass(frozen=True)
class ObjectSummary:
    """Entry of a listing."""

    key: str
    size: int
    etag: str
    modified: datetime
    """Time of the last write, by the store's clock."""


@dataclass(frozen=True)
class Store:
    """One bucket.

    Every method repeats its requests and raises StoreError if they fail in the end; it is a StoreConnectionError if the
    store does not answer, so that another object would fail as well.
    """

    client: Any
    """S3 client of boto3."""
    bucket: str
    patience: float = PATIENCE
    """Seconds after which a request is not repeated any more; 0 for one attempt."""

    @classmethod
    def from_environment(cls, bucket: str = DEFAULT_BUCKET, patience: float = PATIENCE) -> "Store":
        """Create a store from the variables and the configuration file that boto3 reads; see ``new_client``.

        Raises:
            InputError: The settings are malformed.
        """
        return cls(new_client(patience), bucket, patience)

    @property
    def tls(self) -> bool:
        """Whether the connection is protected by TLS."""
        return str(self.client.meta.endpoint_url).startswith("https:")

    def uri(self, key: str) -> str:
        """Return the s3:// URI of a key."""
        return f"s3://{self.bucket}/{key}"

    def request(self, request: Callable[[], _Result], size: int = 0, key: str | None = None) -> _Result:
        """Call a function that sends one request of ``size`` bytes, repeatedly if it fails; see ``with_retries``."""
        from textgate.components.storage.retries import with_retries

        return with_retries(request, self.client, self.bucket, self.patience, size, key)

    def ensure_bucket(self) -> None:
        """Create the bucket, in the client's region, if it does not exist."""
        from botocore.exceptions import ClientError

        def request() -> None:
            try:
                self.client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if error_code(error) not in ABSENT:
                    raise
                # Another process may have created it in the meantime.
                region = self.client.meta.region_name
                # S3 takes every region but its first one as a constraint, and needs it.
                options = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
                with suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
                    self.client.create_bucket(Bucket=self.bucket, **options)

        try:
            self.request(request)
        except AccessDeniedError:
            # It needs the right to list the complete bucket, which no role has. Roles that need a bucket list models.
            next(self.objects("models/"), None)

    def head(self, key: str) -> dict[str, Any] | None:
        """Return the answer of HeadObject (``ContentLength``, ``ETag``, ``Metadata``), or None without the object."""
        return self._unless_absent(key, lambda: dict(self.client.head_object(Bucket=self.bucket, Key=key)))

    def get(self, key: str) -> ObjectContent | None:
        """Return an object, or None if it does not exist.

        Raises:
            DamagedError: The object is not what was written.
        """
        verifier = ReadVerifier(self.uri(key), tls=self.tls)

        def request() -> ObjectContent:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            data = answer["Body"].read()
            digest = verifier.new_digest(answer)
            digest.update(data)
            verifier.check(answer, digest)
            return ObjectContent(data, answer["ETag"])

        return self._unless_absent(key, request)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing an existing one."""
        self.request(lambda: self._put(key, data), size=len(data), key=key)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write a new object; return False if it exists already with other content."""
        return self.replace(key, data, None)

    def replace(self, key: str, data: bytes, etag: str | None) -> bool:
        """Replace an object if it is unchanged (compare-and-swap).

        If the condition fails, the object is read back. It may be the own write: the answer to an earlier attempt was
        lost, or the network sent the request twice.

        Args:
            key: Key of the object.
            data: New content.
            etag: ETag that the object must still have; None if it must not exist.

        Returns:
            False if the object has changed, and not to ``data``.
        """
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}

        def request() -> bool:
            try:
                self._put(key, data, **condition)
            except ClientError as error:
                if error_code(error) not in CONDITION_FAILED:
                    raise
                current = self.get(key)
                if current is not None and current.data == data:
                    return True
                if (current.etag if current else None) == etag:  # a concurrent write failed, or the answer is stale
                    raise
                return False
            return True

        return self.request(request, size=len(data), key=key)

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        self.request(lambda: self.client.delete_object(Bucket=self.bucket, Key=key), key=key)

    def objects(self, prefix: str) -> Iterator[ObjectSummary]:
        """Yield the objects below ``prefix``, sorted by key."""
        for page in self._pages(Prefix=prefix):
            for item in page.get("Contents", []):
                yield ObjectSummary(item["Key"], item["Size"], item["ETag"], item["LastModified"])

    def prefixes(self, prefix: str) -> list[str]:
        """Return the sorted names of the folders directly below ``prefix``."""
        names: list[str] = []
        for page in self._pages(Prefix=prefix, Delimiter="/"):
            names += [item["Prefix"][len(prefix) :].rstrip("/") for item in page.get("CommonPrefixes", [])]
        return sorted(names)

    def upload_file(self, path: Path, key: str) -> None:
        """Upload a file, replacing an existing object; see ``transfers``."""
        send_file(self, path, key)

    def upload_new_file(self, path: Path, key: str, sha256: str) -> bool:
        """Upload a file with this sha256 unless the object exists; return False if it exists with other content."""
        return send_new_file(self, path, key, sha256)

    def download_file(self, key: str, path: Path, etag: str | None = None) -> None:
        """Download an object, which must have the ETag, into a file, and verify it; see ``transfers``."""
        receive_file(self, key, path, etag)

    def upload_folder(self, folder: Path, prefix: str) -> None:
        """Upload every file below ``folder``, sorted by name; symbolic links are skipped."""
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                self.upload_file(path, f"{prefix}/{path.relative_to(folder).as_posix()}")

    def download_folder(self, prefix: str, folder: Path, listed: Sequence[ObjectSummary] | None = None) -> None:
        """Download every object below ``prefix`` into ``folder``, as it is listed now or was ``listed`` before.

        Raises:
            InputError: No object exists below ``prefix``, or a key leads outside the folder.
            ConflictError: An object has been replaced or removed since it was listed.
        """
        prefix = prefix.rstrip("/") + "/"
        items = [item for item in listed or self.objects(prefix) if not item.key.endswith("/")]
        if not items:
            raise InputError(f"there is nothing under {self.uri(prefix)}")
        for item in items:
            path = folder / item.key[len(prefix) :]
            if not path.resolve().is_relative_to(folder.resolve()):
                raise InputError(f"the key {self.uri(item.key)} would be written outside the folder it is read into")
            self.download_file(item.key, path, item.etag)

    def _put(self, key: str, data: bytes, **condition: str) -> None:
        self.client.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=data,
            ContentMD5=content_md5(data),
            Metadata={"sha256": hashlib.sha256(data).hexdigest()},
            **condition,
        )

    def _pages(self, **options: str) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing."""
        start: dict[str, str] = {}
        while True:
            page = self.request(partial(self._page, Bucket=self.bucket, **options, **start), key=options["Prefix"])
            yield page
            if not page.get("IsTruncated"):
                return
            start = {"ContinuationToken": page["NextContinuationToken"]}

    def _page(self, **arguments: str) -> dict[str, Any]:
        """Return a page of a listing, which carries no checksum: without TLS two answers must agree."""
        page = dict(self.client.list_objects_v2(**arguments))
        if not self.tls:
            again = self.client.list_objects_v2(**arguments)
            if any(page.get(name) != again.get(name) for name in ("Contents", "CommonPrefixes", "IsTruncated")):
                raise CorruptedAnswerError(f"the listing of {self.uri(arguments['Prefix'])}")
        return page

    def _unless_absent(self, key: str, request: Callable[[], _Result]) -> _Result | None:
        """Return the result of a request that reads an object, or None if the object does not exist.

        S3 answers 403 instead of 404 unless the key has the right to list the complete bucket (Amazon S3 API reference,
        GetObject). A role may list some prefixes only, so the object's key is listed then.
        """
        from botocore.exceptions import ClientError

        def request_unless_absent() -> _Result | None:
            try:
                return request()
            except ClientError as error:
                if error_code(error) in ABSENT:
                    return None
                raise

        try:
            return self.request(request_unless_absent, key=key)
        except AccessDeniedError:
            with suppress(AccessDeniedError):
                if all(item.key != key for item in self.objects(key)):
                    return None
            raise
