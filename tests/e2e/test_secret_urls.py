"""Sources behind presigned URLs, and on servers that send no validators, run to the end of the pipeline."""

from collections.abc import Iterator
from typing import Any

import pytest
from e2e.conftest import write_films
from sources.web_server import Page, WebServer, web_server

pytestmark = pytest.mark.slow


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def test_a_presigned_url_is_read_and_its_signature_is_stored_nowhere(workspace: Any) -> None:
    store = workspace.store
    store.upload_file(workspace.folder / "films.csv", "in/films.csv")
    (workspace.folder / "films.csv").unlink()
    parameters = {"Bucket": store.bucket, "Key": "in/films.csv"}
    url = store.client.generate_presigned_url("get_object", Params=parameters)
    signature = url.rpartition("Signature=")[2].partition("&")[0]
    assert len(signature) > 20
    secrets = [part.encode() for part in (signature, url.partition("?")[2])]
    cache = workspace.folder / "cache"

    done = workspace.run(
        "run", "films.yaml", "--source", url, "--json", XDG_CACHE_HOME=str(cache), PYTHONUNBUFFERED="1"
    )
    assert done.returncode == 0, done.stderr
    assert '"verdict": "promote"' in done.stdout

    absent = workspace.run("run", "films.yaml", "--source", url.replace("films.csv", "absent.csv"))
    assert (absent.returncode, "answered 404" in absent.stderr or "answered 403" in absent.stderr) == (2, True)

    for output in (done.stdout, done.stderr, absent.stderr):
        assert not any(secret.decode() in output for secret in secrets)
    files = [path for path in workspace.folder.rglob("*") if path.is_file()]
    assert len(files) > 50
    for path in files:
        assert not any(secret in path.read_bytes() or secret.decode() in str(path) for secret in secrets), path
    objects = list(store.objects(""))
    assert len(objects) > 50
    for item in objects:
        content = store.get(item.key).data
        assert not any(secret in content or secret.decode() in item.key for secret in secrets), item.key
    assert any(path.name == "films.csv" for path in cache.rglob("*.csv"))


def test_a_run_sees_that_the_labels_of_a_file_without_validators_were_swapped(workspace: Any, web: WebServer) -> None:
    rows = (workspace.folder / "films.csv").read_bytes()
    write_films(workspace.folder / "swapped.csv", wrong=300)
    swapped = (workspace.folder / "swapped.csv").read_bytes()
    assert len(swapped) == len(rows)
    arguments = ("run", "films.yaml", "--source", f"{web.address}/films.csv")
    web.pages["/films.csv"] = Page(rows)

    def outcomes() -> dict[str, str]:
        result = workspace.run_json(*arguments, XDG_CACHE_HOME=str(workspace.folder / "cache"))
        return {step["name"]: step["outcome"] for step in result["steps"]}

    assert set(outcomes().values()) == {"done"}
    assert web.requests == ["GET /films.csv"]
    again = outcomes()
    assert again["ingest"] == again["train"] == "cached"
    web.pages["/films.csv"] = Page(swapped)
    assert set(outcomes().values()) == {"done"}
