"""The store behind a proxy that injects faults: nothing is lost, nothing is wrong, and failures are one sentence."""

import hashlib
import os
import random
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from faults.s3_proxy import FaultyStore

from textgate.components.contracts import ConflictError, DamagedError, InputError, StoreError
from textgate.components.storage import Registry, Store, StoreConnectionError, retries, transfers

WriteBundle = Callable[[Path, bytes], Path]

READS = {"500": 0.015, "503": 0.015, "reset": 0.015, "reset_body": 0.02, "truncated": 0.02, "flipped_get": 0.035}
WRITES = {"flipped_put": 0.035, "lost": 0.02, "duplicated": 0.02}
"""Together 12 % of the reads and 14 % of the writes."""


@pytest.fixture
def remote(store: Store, faulty_store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return the store as it is reached through the proxy."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", faulty_store.endpoint)
    return Store.from_environment(store.bucket)


@pytest.fixture
def part_size(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make parts as small as S3 allows, and return their size."""
    monkeypatch.setattr(transfers, "PART_SIZE", 5 * 2**20)
    return transfers.PART_SIZE


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_a_write_that_fails_is_repeated(store: Store, remote: Store, faulty_store: FaultyStore) -> None:
    for kind in ("flipped_put", "reset", "reset_body", "500", "503", "lost", "duplicated"):
        faulty_store.once(kind, "PUT", f"/put-{kind}")
        remote.put(f"put-{kind}", b"first")
        faulty_store.once(kind, "PUT", f"/new-{kind}")
        assert remote.put_new(f"new-{kind}", b"first")
        assert not remote.put_new(f"new-{kind}", b"second")
        current = remote.get(f"put-{kind}")
        assert current
        faulty_store.once(kind, "PUT", f"/put-{kind}")
        assert remote.replace(f"put-{kind}", b"second", current.etag)
        assert not remote.replace(f"put-{kind}", b"third", current.etag)
        assert faulty_store.injected[kind] == 3
        stored = [store.get(f"{name}-{kind}") for name in ("put", "new")]
        assert [item and item.data for item in stored] == [b"second", b"first"]


def test_a_read_that_fails_is_repeated(store: Store, remote: Store, faulty_store: FaultyStore, tmp_path: Path) -> None:
    store.put("key", content(1000))
    # As other programs and earlier versions write it.
    store.client.put_object(Bucket=store.bucket, Key="other", Body=content(500))
    for kind in ("flipped_get", "truncated", "reset_body", "reset", "500", "503"):
        for key, data in (("key", content(1000)), ("other", content(500))):
            faulty_store.once(kind, "GET", f"/{key}")
            assert remote.get(key).data == data  # type: ignore[union-attr]
            faulty_store.once(kind, "GET", f"/{key}")
            remote.download_file(key, tmp_path / key)
            assert (tmp_path / key).read_bytes() == data
        assert faulty_store.injected[kind] == 4
    for kind in ("reset", "reset_body", "truncated", "503"):
        faulty_store.once(kind, "GET", "list-type=2")
        assert [item.key for item in remote.objects("")] == ["key", "other"]
        # The body of a refusal breaks off.
        faulty_store.once(kind, "GET", "/absent")
        assert remote.get("absent") is None


@pytest.mark.parametrize("new", [True, False])
def test_a_file_in_parts_survives_faults(
    new: bool, part_size: int, store: Store, remote: Store, faulty_store: FaultyStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content(part_size + 1))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    store.put("taken", b"other")
    for index, fault in enumerate([("flipped_put", "PUT"), ("lost", "PUT"), ("lost", "POST"), ("503", "POST")]):
        faulty_store.once(*fault, "uploadId=")
        key = f"key{index}"
        if new:
            assert remote.upload_new_file(path, key, sha256)
            assert remote.upload_new_file(path, key, sha256)
            assert not remote.upload_new_file(path, "taken", sha256)
        else:
            remote.upload_file(path, key)
        head = store.head(key)
        assert head
        assert head["ETag"].endswith('-2"')
        assert head["Metadata"] == {"sha256": sha256}
    for kind in ("flipped_get", "truncated"):
        faulty_store.once(kind, "GET", "/key0")
        remote.download_file("key0", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == path.read_bytes()
    assert faulty_store.injected.total() == 6
    assert "Uploads" not in store.client.list_multipart_uploads(Bucket=store.bucket)


def test_a_listing_is_right_whatever_bit_is_flipped(store: Store, remote: Store, faulty_store: FaultyStore) -> None:
    # Long names, so that most flipped bits are in a name.
    folders = [letter * 200 for letter in "abcd"]
    for folder in folders:
        store.put(f"{folder}/{folder}", b"1")
    for _ in range(8):
        faulty_store.once("flipped_get", "GET", "list-type=2")
        assert [item.key for item in remote.objects("")] == [f"{folder}/{folder}" for folder in folders]
        faulty_store.once("flipped_get", "GET", "list-type=2")
        assert remote.prefixes("") == folders
    assert faulty_store.injected == {"flipped_get": 16}


def test_a_listing_with_a_changed_time_is_read_again(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.put("key", b"1")
    changed = iter([True])

    def change_time(response: Any, **_: Any) -> None:
        if next(changed, False):
            response["body"] = response["body"].replace(b"Z</LastModified>", b"=</LastModified>")

    remote.client.meta.events.register(
        "before-parse.s3.ListObjectsV2", lambda **given: change_time(given["response_dict"])
    )
    assert [item.key for item in remote.objects("")] == ["key"]
    assert next(changed, None) is None


def test_an_object_that_is_damaged_in_the_store_is_named(
    part_size: int, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "_FIRST_DELAY", 0)
    for key, data in (("small", b"0"), ("large", content(part_size + 1))):
        metadata = {"sha256": hashlib.sha256(b"written").hexdigest()}
        store.client.put_object(Bucket=store.bucket, Key=key, Body=data, Metadata=metadata)
        for read in (lambda key=key: store.get(key), lambda key=key: store.download_file(key, tmp_path / "copy")):
            with pytest.raises(DamagedError, match=rf"{key} is damaged: its sha256 is .*, not ccc0e8da.* as written"):
                read()
    assert not list(tmp_path.iterdir())


def test_an_object_without_a_checksum_is_read_until_two_reads_agree(
    store: Store, remote: Store, faulty_store: FaultyStore, tmp_path: Path
) -> None:
    upload = {"Bucket": store.bucket, "Key": "key"}
    upload["UploadId"] = store.client.create_multipart_upload(**upload)["UploadId"]
    part = {"PartNumber": 1, "ETag": store.client.upload_part(**upload, PartNumber=1, Body=content(9))["ETag"]}
    store.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]})
    faulty_store.once("flipped_get", "GET", "/key")
    assert remote.get("key").data == content(9)  # type: ignore[union-attr]
    faulty_store.once("flipped_get", "GET", "/key")
    remote.download_file("key", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content(9)
    path = tmp_path / "copy"
    assert remote.upload_new_file(path, "key", hashlib.sha256(content(9)).hexdigest())
    path.write_bytes(b"other")
    assert not remote.upload_new_file(path, "key", hashlib.sha256(b"other").hexdigest())


def test_a_file_that_changes_while_it_is_uploaded_is_not_stored(part_size: int, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for size in (1, part_size + 1):
        path.write_bytes(content(size))
        with pytest.raises(ConflictError, match=r"file changed while it was uploaded"):
            store.upload_new_file(path, "key", hashlib.sha256(b"before").hexdigest())
    assert store.head("key") is None
    assert "Uploads" not in store.client.list_multipart_uploads(Bucket=store.bucket)


def test_a_bundle_larger_than_a_put_is_published_in_bounded_memory_and_not_sent_twice(
    store: Store, tmp_path: Path, write_bundle: WriteBundle
) -> None:
    """6 GB and the limit of 5 GB, scaled down by 100."""
    limit, sent = 50_000_000, list[int]()

    def refuse(request: Any, **_: Any) -> AWSResponse | None:
        sent.append(int(request.headers["Content-Length"]))
        if sent[-1] <= limit:
            return None
        error = b"<Error><Code>EntityTooLarge</Code><Message>larger than allowed</Message></Error>"
        return AWSResponse(request.url, 400, {}, type("Raw", (), {"stream": lambda _: [error]})())

    for operation in ("PutObject", "UploadPart"):
        store.client.meta.events.register(f"before-send.s3.{operation}", refuse)
    bundle = write_bundle(tmp_path / "bundle", os.urandom(60_000_000))
    with pytest.raises(StoreError, match="EntityTooLarge"):
        store.put("key", (bundle / "weights.bin").read_bytes())
    registry = Registry(store)
    sent.clear()
    tracemalloc.start()
    version = registry.publish("model", bundle)
    registry.download("model", version, tmp_path / "copy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * transfers.PART_SIZE
    assert (tmp_path / "copy" / "weights.bin").stat().st_size == 60_000_000
    assert sum(sent) > 60_000_000
    sent.clear()
    store.delete(f"models/model/versions/{version}/bundle.json")
    assert registry.publish("model", bundle) == version
    assert len(sent) == 2, "the claim and the manifest"
    assert max(sent) < 100_000


def test_a_store_that_hangs_is_given_up_after_a_visible_wait(
    remote: Store, faulty_store: FaultyStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty_store.rates = {"hang": 1}
    monkeypatch.setattr(retries, "_SHOWN_AFTER", 0.1)
    with pytest.raises(StoreConnectionError, match=r"does not answer: Read timeout"):
        Registry(Store.from_environment(remote.bucket, patience=1)).models()
    assert capsys.readouterr().err == (
        f"textgate warning: waiting for the store at {faulty_store.endpoint}, for up to 1 seconds\n"
    )
    assert 1 <= faulty_store.injected["hang"] <= 2


def test_a_wrong_clock_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for skew, words in ((timedelta(minutes=20.5), "20 minutes ahead"), (timedelta(minutes=-20.5), "20 minutes behind")):
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda skew=skew: datetime.now(UTC) + skew)
        monkeypatch.setattr(retries, "_now", lambda skew=skew: datetime.now(UTC) + skew)
        # The answers to GET and HEAD: with and without an error code.
        for request in (lambda: store.get("key"), store.ensure_bucket):
            with pytest.raises(StoreError, match=f"because the clock of this machine is {words}: set the clock"):
                request()


class _Operations:
    """Registry operations in random order, each compared with the state that it must find."""

    def __init__(self, registry: Registry, bundles: list[Path], folder: Path) -> None:
        self._registry, self._bundles, self._folder = registry, bundles, folder
        self._versions: dict[str, set[str]] = {}
        self._champions: dict[str, list[str]] = {}
        self.failures: list[str] = []
        self.wrong: list[str] = []

    def run(self, number: int) -> None:
        """Run operations, 50 on each model, so that no history becomes long."""
        rng = random.Random(1)
        for index in range(number):
            operation = rng.choice([self.promote, self.promote, self.read, self.read, self.download])
            try:
                operation(f"model-{index // 50}", index)
            except InputError as error:
                self.failures.append(str(error))

    def promote(self, model: str, index: int) -> None:
        version = self._registry.publish(model, self._bundles[index % len(self._bundles)])
        self._versions.setdefault(model, set()).add(version)
        champion = self._registry.channel(model)
        expected = champion.version if champion else None
        self._registry.update_channel(model, version, run=f"run-{index}", reason="better", expected=expected)
        self._champions.setdefault(model, []).append(version)

    def read(self, model: str, index: int) -> None:
        champions = self._champions.get(model)
        if champions and not self.failures:
            self._compare(index, self._registry.channel(model).version, champions[-1])  # type: ignore[union-attr]
            self._compare(index, self._registry.versions(model), sorted(self._versions[model]))
            moves = [update.version for update in self._registry.history(model)]
            self._compare(index, moves, champions[::-1])

    def download(self, model: str, index: int) -> None:
        for version in sorted(self._versions.get(model, ()))[:1]:
            bundle = self._registry.download(model, version, self._folder / str(index))
            self._compare(index, bundle.fingerprint[: len(version)], version)

    def _compare(self, index: int, found: object, expected: object) -> None:
        if found != expected:
            self.wrong.append(f"operation {index}: {found} instead of {expected}")


@pytest.fixture
def operations(remote: Store, tmp_path: Path, write_bundle: WriteBundle, part_size: int) -> _Operations:
    bundles = [write_bundle(tmp_path / f"bundle{size}", content(size)) for size in (1, 2, 3, part_size + 1)]
    return _Operations(Registry(remote), bundles, tmp_path)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(40, marks=pytest.mark.slow),
        pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_no_registry_operation_fails_at_12_percent_faults(
    number: int, operations: _Operations, faulty_store: FaultyStore
) -> None:
    faulty_store.rates = {**READS, **WRITES}
    operations.run(number)
    print(number, "operations,", faulty_store.requests, "requests,", dict(faulty_store.injected))
    assert not operations.failures
    assert not operations.wrong
    assert faulty_store.injected.total() > number / 2


@pytest.mark.slow
def test_at_50_percent_faults_an_operation_succeeds_or_fails_with_a_sentence(
    operations: _Operations, faulty_store: FaultyStore, store: Store, tmp_path: Path
) -> None:
    faulty_store.rates = {kind: rate * 50 / 12 for kind, rate in {**READS, **WRITES}.items()}
    operations.run(30)
    print(faulty_store.requests, "requests,", dict(faulty_store.injected), operations.failures)
    assert not operations.wrong
    assert all("\n" not in sentence and " " in sentence for sentence in operations.failures)
    registry = Registry(store)
    for model in registry.model_names():
        for version in registry.versions(model):
            registry.download(model, version, tmp_path / f"check-{model}-{version}")
