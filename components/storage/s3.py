"""One bucket of any S3-compatible store, through boto3.

The registry depends on conditional writes: PUT with If-None-Match and If-Match, as in the Amazon S3 API reference,
PutObject. Stores answer a failed condition with 404, 409 or 412, so all three are treated alike.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from textgate.components.contracts import InputError, StoreError

DEFAULT_BUCKET = "textgate"

_CONDITION_FAILED = {"404", "409", "412", "NoSuchKey", "PreconditionFailed", "ConditionalRequestConflict"}
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_DENIED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}


def endpoint() -> str | None:
    """Return the S3 endpoint of the environment or of the profile in boto3's configuration file, or None.

    Raises:
        InputError: AWS_PROFILE names a profile that does not exist, or the configuration file is malformed.
    """
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if environment:
        return environment
    try:
        session = Session()
        profile = session.get_scoped_config()
        if session.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        services = session.full_config.get("services", {}).get(profile.get("services"), {})
    except BotoCoreError as error:
        raise InputError(f"the AWS configuration cannot be used: {error}") from error
    return services.get("s3", {}).get("endpoint_url") or profile.get("endpoint_url") or None


def aws_variables() -> dict[str, str]:
    """Return the settings of boto3's configuration files as variables, for a process that cannot read the files.

    Raises:
        InputError: See ``endpoint``, or the credentials cannot be loaded.
    """
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session, address = Session(), endpoint()
    try:
        credentials = session.get_credentials()
        keys = credentials.get_frozen_credentials() if credentials else None
        values = {
            "AWS_ENDPOINT_URL_S3": address,
            "AWS_REGION": os.environ.get("AWS_REGION") or session.get_config_variable("region"),
            "AWS_ACCESS_KEY_ID": keys and keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys and keys.secret_key,
            "AWS_SESSION_TOKEN": keys and keys.token,
        }
    except BotoCoreError as error:
        raise InputError(f"the AWS credentials cannot be loaded: {error}") from error
    return {name: value for name, value in values.items() if value}


def _is_loopback(url: str | None) -> bool:
    with suppress(ValueError):
        host = urlsplit(url or "").hostname
        return host == "localhost" or ip_address(host or "").is_loopback
    return False


class StoreConnectionError(StoreError):
    """No connection to the store: an error of the store as a whole, not of one object."""


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
class IncompleteUpload:
    """Multipart upload that was neither completed nor aborted; its parts take space and are in no listing."""

    key: str
    upload: str
    """Identifier of the upload."""
    begun: datetime
    """Time of its first request, by the store's clock."""
    size: int
    """Bytes of its parts."""


@dataclass(frozen=True)
class Store:
    """One bucket.

    Every method raises InputError if the store refuses the request or does not answer; it is a StoreConnectionError if
    there is no connection.
    """

    client: Any
    """S3 client of boto3."""
    bucket: str

    @classmethod
    def from_environment(cls, bucket: str = DEFAULT_BUCKET) -> "Store":
        """Create a store from the variables and the configuration file that boto3 reads.

        Addresses are path-style unless the profile sets ``addressing_style``; the region is us-east-1 unless one is
        set. A store on this machine is not reached through a proxy.

        Raises:
            InputError: The settings are malformed.
        """
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        address = endpoint()
        config = Config(
            # None is the environment's.
            proxies={} if _is_loopback(address) else None,
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 3},
            # Many stores do not support the checksums that newer clients add by default.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        # Not the default session, which keeps the first credentials it has read.
        try:
            settings = Session()
            s3 = settings.get_scoped_config().get("s3")
            style = s3.get("addressing_style") if isinstance(s3, dict) else None
            config = config.merge(Config(s3={"addressing_style": style or "path"}))
            session = boto3.session.Session(botocore_session=settings)
            region = os.environ.get("AWS_REGION") or session.region_name or "us-east-1"
            return cls(session.client("s3", endpoint_url=address, region_name=region, config=config), bucket)
        except (ValueError, BotoCoreError) as error:
            raise InputError(
                f"the AWS settings of the environment name no S3 store: {error} (an endpoint is http://host:port)"
            ) from error

    def uri(self, key: str) -> str:
        """Return the s3:// URI of a key."""
        return f"s3://{self.bucket}/{key}"

    def ensure_bucket(self) -> None:
        """Create the bucket, in the client's region, if it does not exist."""
        from botocore.exceptions import ClientError

        with self._input_errors():
            try:
                self.client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise
                # Another process may have created it in the meantime.
                region = self.client.meta.region_name
                # S3 takes every region but its first one as a constraint, and needs it.
                options = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
                with suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
                    self.client.create_bucket(Bucket=self.bucket, **options)

    def get(self, key: str) -> ObjectContent | None:
        """Return an object, or None if it does not exist."""
        from botocore.exceptions import ClientError

        with self._input_errors():
            try:
                response = self.client.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            return ObjectContent(response["Body"].read(), response["ETag"])

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing an existing one."""
        with self._input_errors():
            self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write a new object; return False if it exists already."""
        return self._put_if(key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, etag: str | None) -> bool:
        """Replace an object if it is unchanged (compare-and-swap).

        Args:
            key: Key of the object.
            data: New content.
            etag: ETag that the object must still have; None if it must not exist.

        Returns:
            False if the object has changed.
        """
        return self.put_new(key, data) if etag is None else self._put_if(key, data, IfMatch=etag)

    def _put_if(self, key: str, data: bytes, **condition: str) -> bool:
        from botocore.exceptions import ClientError

        with self._input_errors():
            try:
                self.client.put_object(Bucket=self.bucket, Key=key, Body=data, **condition)
            except ClientError as error:
                if _code(error) in _CONDITION_FAILED:
                    return False
                raise
            return True

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        with self._input_errors():
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def objects(self, prefix: str) -> Iterator[ObjectSummary]:
        """Yield the objects below ``prefix``, sorted by key."""
        with self._input_errors():
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield ObjectSummary(item["Key"], item["Size"], item["ETag"], item["LastModified"])

    def now(self) -> datetime:
        """Return the time of the store's clock, in whole seconds: that of its Date header."""
        with self._input_errors():
            response = self.client.head_bucket(Bucket=self.bucket)
        return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])

    def delete_all(self, keys: list[str]) -> None:
        """Delete objects, 1,000 in a request, which is the limit of S3."""
        for first in range(0, len(keys), 1000):
            batch = {"Objects": [{"Key": key} for key in keys[first : first + 1000]], "Quiet": True}
            with self._input_errors():
                failed = self.client.delete_objects(Bucket=self.bucket, Delete=batch).get("Errors", [])
            if failed:
                raise StoreError(f"{self.uri(failed[0]['Key'])} could not be deleted: {failed[0].get('Message')}")

    def incomplete_uploads(self) -> Iterator[IncompleteUpload]:
        """Yield the multipart uploads that were neither completed nor aborted."""
        with self._input_errors():
            for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket):
                for item in page.get("Uploads", []):
                    parts = self.client.get_paginator("list_parts").paginate(
                        Bucket=self.bucket, Key=item["Key"], UploadId=item["UploadId"]
                    )
                    size = sum(part["Size"] for answer in parts for part in answer.get("Parts", []))
                    yield IncompleteUpload(item["Key"], item["UploadId"], item["Initiated"], size)

    def abort(self, upload: IncompleteUpload) -> None:
        """Abort a multipart upload and delete its parts."""
        with self._input_errors():
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=upload.key, UploadId=upload.upload)

    def prefixes(self, prefix: str) -> list[str]:
        """Return the sorted names of the folders directly below ``prefix``."""
        names: list[str] = []
        with self._input_errors():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                names += [item["Prefix"][len(prefix) :].rstrip("/") for item in page.get("CommonPrefixes", [])]
        return sorted(names)

    def upload_file(self, path: Path, key: str) -> None:
        """Upload a file, in multiple parts if it is large."""
        from boto3.exceptions import S3UploadFailedError

        with self._input_errors():
            try:
                self.client.upload_file(str(path), self.bucket, key)
            except S3UploadFailedError as error:
                raise InputError(f"{path} could not be written to {self.uri(key)}: {error}") from error

    def download_file(self, key: str, path: Path) -> None:
        """Download an object into a file."""
        with self._input_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(self.bucket, key, str(path))

    def upload_folder(self, folder: Path, prefix: str) -> None:
        """Upload every file below ``folder``, sorted by name; symbolic links are skipped."""
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                self.upload_file(path, f"{prefix}/{path.relative_to(folder).as_posix()}")

    def download_folder(self, prefix: str, folder: Path) -> None:
        """Download every object below ``prefix`` into ``folder``.

        Raises:
            InputError: No object exists below ``prefix``, or a key leads outside the folder.
        """
        prefix = prefix.rstrip("/") + "/"
        keys = [item.key for item in self.objects(prefix) if not item.key.endswith("/")]
        if not keys:
            raise InputError(f"there is nothing under {self.uri(prefix)}")
        for key in keys:
            path = folder / key[len(prefix) :]
            if not path.resolve().is_relative_to(folder.resolve()):
                raise InputError(f"the key {self.uri(key)} would be written outside the folder it is read into")
            self.download_file(key, path)

    @contextmanager
    def _input_errors(self) -> Iterator[None]:
        """Raise InputError with one sentence for errors that the user can fix; no message contains a secret."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectTimeoutError,
            EndpointConnectionError,
            NoCredentialsError,
            PartialCredentialsError,
            ProxyConnectionError,
            SSLError,
        )

        where = f"the store at {self.client.meta.endpoint_url}"
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StoreConnectionError(
                f"{where} needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "or any other that boto3 reads"
            ) from error
        except ClientError as error:
            code = _code(error)
            if code in _DENIED:
                raise InputError(f"{where} refuses these credentials for the bucket {self.bucket} ({code})") from error
            if code == "NoSuchBucket":
                raise InputError(f"{where} has no bucket {self.bucket}: create it or name another") from error
            raise InputError(f"{where} answered {code}: {error.response['Error'].get('Message', '')}") from error
        except (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, SSLError) as error:
            raise StoreConnectionError(f"{where} cannot be reached: {error}") from error
        except (Boto3Error, BotoCoreError) as error:
            raise InputError(f"{where} cannot be reached: {error}") from error


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"])
