"""boto3's usual settings: profile, endpoint, region, addressing style and proxies, on the embedded store."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from textgate.components.contracts import InputError
from textgate.components.storage import Store
from textgate.components.storage.connection import connect
from textgate.components.storage.s3_settings import endpoint
from textgate.pipelines.runners.docker_runner import _environment

CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def configure(folder: Path, environment: dict[str, str], *lines: str, services: str = "") -> None:
    """Write the keys and settings of a store to the profile ``lab`` in boto3's files."""
    (folder / "config").write_text(
        "\n".join(["[profile lab]", *lines, services, "[default]", "region = us-west-2", ""])
    )
    (folder / "credentials").write_text(
        f"[lab]\naws_access_key_id = {environment['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {environment['AWS_SECRET_ACCESS_KEY']}\n"
    )


def new_store() -> Store:
    return Store.from_environment(f"test-{uuid.uuid4().hex[:12]}")


@pytest.mark.parametrize("in_services", [False, True])
def test_a_profile_alone_names_keys_endpoint_region_and_style(
    in_services: bool, store_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"endpoint_url = {store_environment['AWS_ENDPOINT_URL_S3']}"
    lines = ["region = eu-central-1", *(["services = here"] if in_services else [address])]
    services = f"[services here]\ns3 =\n  {address}\n" if in_services else ""
    configure(tmp_path, store_environment, *lines, services=services)
    assert endpoint() is None
    monkeypatch.setenv("AWS_PROFILE", "lab")
    connect(tmp_path / "workspace")
    assert not (tmp_path / "workspace").exists()
    store = new_store()
    assert store.client.meta.region_name == "eu-central-1"
    assert store.client.meta.config.s3["addressing_style"] == "path"
    store.ensure_bucket()
    store.put("key", b"1")
    assert store.get("key").data == b"1"  # type: ignore[union-attr]

    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert endpoint() is None


def test_containers_get_the_profile_as_variables(
    store_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = store_environment["AWS_ENDPOINT_URL_S3"]
    configure(tmp_path, store_environment, "region = eu-central-1", f"endpoint_url = {address}")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    variables = {name: value for name, value in _environment(tmp_path).items() if name.startswith("AWS_")}
    variables.pop("AWS_CA_BUNDLE", None)
    assert variables == {**store_environment, "AWS_REGION": "eu-central-1"}


def test_the_environment_precedes_the_profile(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, environment, f"endpoint_url = {CLOSED_PORT}", "s3 =", "  addressing_style = virtual")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    store = new_store()
    assert store.client.meta.endpoint_url == environment["AWS_ENDPOINT_URL_S3"]
    assert store.client.meta.config.s3["addressing_style"] == "virtual"
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(InputError, match=r"The config profile \(absent\) could not be found"):
        new_store()


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
@pytest.mark.parametrize(("region", "constraint"), [("eu-central-1", True), ("us-east-1", False)])
def test_a_bucket_is_created_in_the_region(
    variable: str, region: str, constraint: bool, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv(variable, region)
    store, bodies = new_store(), list[bytes]()

    def keep_body(request: Any, **_: Any) -> None:
        bodies.append(request.body or b"")

    store.client.meta.events.register("before-send.s3.CreateBucket", keep_body)
    store.ensure_bucket()
    store.put("key", b"1")
    assert (f"<LocationConstraint>{region}</LocationConstraint>".encode() in bodies[0]) is constraint


def test_a_store_on_this_machine_is_not_reached_through_a_proxy(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, CLOSED_PORT)
    store = new_store()
    store.ensure_bucket()
    store.put("key", b"1")
    assert store.get("key").data == b"1"  # type: ignore[union-attr]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://192.0.2.1:9000")
    with pytest.raises(InputError, match="Failed to connect to proxy URL"):
        new_store().put("key", b"1")


def test_the_embedded_store_is_used_without_the_session_token_of_other_keys(
    store_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-other-keys")
    for name in store_environment:
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("textgate.components.storage.embedded.EmbeddedStore.start", lambda _: None)
    monkeypatch.setattr(
        "textgate.components.storage.embedded.EmbeddedStore.environment", lambda _: dict(store_environment)
    )
    connect(tmp_path)
    store = new_store()
    store.ensure_bucket()
    store.put("key", b"1")
