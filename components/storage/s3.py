"""One bucket of any S3-compatible store, through boto3.

Conditional writes are what everything else rests on: PUT with If-None-Match and If-Match, as in the Amazon S3 API
reference, PutObject. Stores differ in whether a failed condition is 404, 409 or 412, so all three mean the same here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgate.components.contracts import InputError

DEFAULT_BUCKET = "textgate"

_CONDITION_FAILED = {"404", "409", "412", "NoSuchKey", "PreconditionFailed", "ConditionalRequestConflict"}
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}


def endpoint() -> str | None:
    """The S3 endpoint the environment names, if it names one."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


@dataclass(frozen=True)
class ObjectContent:
    """An object's bytes and the ETag that a conditional write compares."""

    data: bytes
    etag: str


@dataclass(frozen=True)
class ObjectSummary:
    """An object in a listing."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Store:
    """One bucket. Every method raises InputError when the store cannot be reached or refuses the credentials."""

    client: Any
    bucket: str

    @classmethod
    def from_environment(cls, bucket: str = DEFAULT_BUCKET) -> "Store":
        """Endpoint, region and credentials by boto3's usual environment; path-style addresses."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        config = Config(
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 3},
            # Many stores do not know the checksums newer clients add unasked.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        # A session of its own: the default one keeps the first credentials it ever saw.
        try:
            session = boto3.session.Session()
            return cls(session.client("s3", endpoint_url=endpoint(), region_name=region, config=config), bucket)
        except (ValueError, BotoCoreError) as error:
            raise InputError(
                f"the AWS settings of the environment name no S3 store: {error} (an endpoint is http://host:port)"
            ) from error

    def uri(self, key: str) -> str:
        """The s3:// address of a key."""
        return f"s3://{self.bucket}/{key}"

    def ensure_bucket(self) -> None:
        """Create the bucket if it is not there."""
        from botocore.exceptions import ClientError

        with self._explained():
            try:
                self.client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise
                # Another process may have made it since it was looked for.
                with suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
                    self.client.create_bucket(Bucket=self.bucket)

    def get(self, key: str) -> ObjectContent | None:
        """An object, or None when there is none."""
        from botocore.exceptions import ClientError

        with self._explained():
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            return ObjectContent(answer["Body"].read(), answer["ETag"])

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whether or not there is one."""
        with self._explained():
            self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object that must not exist yet; False when it does."""
        return self._put_if(key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object that must still have ``etag`` (None: must not exist); False when it has changed."""
        return self.put_new(key, data) if etag is None else self._put_if(key, data, IfMatch=etag)

    def _put_if(self, key: str, data: bytes, **condition: str) -> bool:
        from botocore.exceptions import ClientError

        with self._explained():
            try:
                self.client.put_object(Bucket=self.bucket, Key=key, Body=data, **condition)
            except ClientError as error:
                if _code(error) in _CONDITION_FAILED:
                    return False
                raise
            return True

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        with self._explained():
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def objects(self, prefix: str) -> Iterator[ObjectSummary]:
        """Every object below ``prefix``, sorted by key."""
        with self._explained():
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield ObjectSummary(item["Key"], item["Size"], item["ETag"])

    def prefixes(self, prefix: str) -> list[str]:
        """Names of the folders right below ``prefix``, sorted."""
        found: list[str] = []
        with self._explained():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                found += [item["Prefix"][len(prefix) :].rstrip("/") for item in page.get("CommonPrefixes", [])]
        return sorted(found)

    def upload_file(self, path: Path, key: str) -> None:
        """Write a file, in parts when it is large."""
        from boto3.exceptions import S3UploadFailedError

        with self._explained():
            try:
                self.client.upload_file(str(path), self.bucket, key)
            except S3UploadFailedError as error:
                raise InputError(f"{path} could not be written to {self.uri(key)}: {error}") from error

    def download_file(self, key: str, path: Path) -> None:
        """Read an object into a file."""
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(self.bucket, key, str(path))

    def upload_folder(self, folder: Path, prefix: str) -> None:
        """Write every file below ``folder``, in order of their names; links are not followed."""
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                self.upload_file(path, f"{prefix}/{path.relative_to(folder).as_posix()}")

    def download_folder(self, prefix: str, folder: Path) -> None:
        """Read every object below ``prefix`` into ``folder``.

        Raises:
            InputError: there is none, or a key would lie outside the folder.
        """
        prefix = prefix.rstrip("/") + "/"
        found = [item.key for item in self.objects(prefix) if not item.key.endswith("/")]
        if not found:
            raise InputError(f"there is nothing under {self.uri(prefix)}")
        for key in found:
            path = folder / key[len(prefix) :]
            if not path.resolve().is_relative_to(folder.resolve()):
                raise InputError(f"the key {self.uri(key)} would be written outside the folder it is read into")
            self.download_file(key, path)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what a person can mend into one sentence; secrets are in none of these messages."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        where = f"the store at {self.client.meta.endpoint_url}"
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise InputError(
                f"{where} needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "or any other that boto3 reads"
            ) from error
        except ClientError as error:
            code = _code(error)
            if code in _REFUSED:
                raise InputError(f"{where} refuses these credentials for the bucket {self.bucket} ({code})") from error
            if code == "NoSuchBucket":
                raise InputError(f"{where} has no bucket {self.bucket}: create it or name another") from error
            raise InputError(f"{where} answered {code}: {error.response['Error'].get('Message', '')}") from error
        except (Boto3Error, BotoCoreError) as error:
            raise InputError(f"{where} cannot be reached: {error}") from error


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"])
