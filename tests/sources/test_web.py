"""Files on the web: versions without validators, secrets, redirects, encodings and limits, on a real server."""

import base64
import gzip
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources.web_server import Page, WebServer, web_server

from textgate.components.contracts import ConflictError, InputError
from textgate.components.sources import SourceUrls, content_version, fetch

ROWS = b"text,label\ngood film,1\nbad film,0\n"
SWAPPED = b"text,label\ngood film,0\nbad film,1\n"
LAST_YEAR = "Sat, 01 Nov 2025 10:00:00 GMT"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("TEXTGATE_DOWNLOADS", str(tmp_path / "downloads"))
    with web_server() as server:
        yield server


def fetched(uri: str) -> bytes:
    return fetch(uri, Path(os.environ["TEXTGATE_DOWNLOADS"])).read_bytes()


def test_the_version_of_a_file_without_validators_is_that_of_its_content(web: WebServer) -> None:
    uri = f"{web.address}/data.csv"
    web.pages["/data.csv"] = Page(ROWS)
    before = content_version(uri)
    assert content_version(uri) == before
    web.pages["/data.csv"] = Page(SWAPPED)
    assert len(SWAPPED) == len(ROWS)
    assert content_version(uri) != before


@pytest.mark.parametrize(
    "validators",
    [{"ETag": '"1"'}, {"ETag": 'W/"1"'}, {"Last-Modified": LAST_YEAR}, {"ETag": '"1"', "Last-Modified": LAST_YEAR}],
)
def test_a_validator_is_used_without_reading_the_body(web: WebServer, validators: dict[str, str]) -> None:
    web.pages["/data.csv"] = Page(ROWS, validators)
    before = content_version(f"{web.address}/data.csv")
    web.pages["/data.csv"] = Page(SWAPPED, validators)
    assert content_version(f"{web.address}/data.csv") == before
    assert not list(Path(os.environ["TEXTGATE_DOWNLOADS"]).rglob("data.csv"))
    changed = {name: value.replace("1", "2") for name, value in validators.items()}
    web.pages["/data.csv"] = Page(ROWS, changed)
    assert content_version(f"{web.address}/data.csv") != before


@pytest.mark.parametrize("modified", [LAST_YEAR, "yesterday"])
def test_a_last_modified_of_the_same_second_or_malformed_is_no_validator(web: WebServer, modified: str) -> None:
    headers = {"Last-Modified": modified, "Date": LAST_YEAR}
    web.pages["/data.csv"] = Page(ROWS, headers)
    before = content_version(f"{web.address}/data.csv")
    web.pages["/data.csv"] = Page(SWAPPED, headers)
    assert content_version(f"{web.address}/data.csv") != before


def test_a_run_downloads_a_file_without_validators_once_and_the_next_one_again(web: WebServer) -> None:
    uri, downloads = f"{web.address}/data.csv", Path(os.environ["TEXTGATE_DOWNLOADS"])
    web.pages["/data.csv"] = Page(ROWS)
    version = content_version(uri)
    web.pages["/data.csv"] = Page(SWAPPED)
    assert fetch(uri, downloads, version).read_bytes() == ROWS
    assert len(web.requests) == 1
    assert fetched(uri) == SWAPPED
    assert len(web.requests) == 2
    assert fetch(uri, downloads, version).read_bytes() == ROWS
    assert len(web.requests) == 2


@pytest.mark.parametrize("validators", [({}, {}), ({"ETag": '"1"'}, {"ETag": '"2"'}), ({"ETag": '"1"'}, {})])
def test_a_file_that_changed_after_its_version_was_determined_is_a_conflict(
    web: WebServer, validators: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    uri = f"{web.address}/data.csv"
    web.pages["/data.csv"] = Page(ROWS, validators[0])
    version = content_version(uri)
    web.pages["/data.csv"] = Page(SWAPPED, validators[1])
    with pytest.raises(ConflictError, match=r"/data\.csv changed while the run started: run again$"):
        fetch(uri, tmp_path / "cold", version)
    assert not [path for path in (tmp_path / "cold").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_head_is_never_sent(web: WebServer) -> None:
    web.pages["/data.csv"] = Page(ROWS, {"ETag": '"1"'})
    content_version(f"{web.address}/data.csv")
    assert fetched(f"{web.address}/data.csv") == ROWS
    assert {request.split()[0] for request in web.requests} == {"GET"}


def test_secrets_of_a_url_are_hidden_and_sent(web: WebServer) -> None:
    uri = f"{web.address.replace('//', '//ann:p%40ss@')}/data.csv?X-Amz-Signature=5ec2e7"
    basic = f"Basic {base64.b64encode(b'ann:p@ss').decode()}"
    web.pages["/data.csv?X-Amz-Signature=5ec2e7"] = Page(ROWS, authorization=basic)
    hidden = SourceUrls().hide(uri)
    assert hidden == f"{web.address.replace('//', '//****@')}/data.csv?****"
    assert SourceUrls().hide(hidden) == hidden
    assert fetched(hidden) == fetched(uri) == ROWS
    assert content_version(hidden) == content_version(uri)
    for path in Path(os.environ["TEXTGATE_DOWNLOADS"]).rglob("*"):
        assert "5ec2e7" not in str(path)


def test_a_new_signature_replaces_the_old_one_and_leaves_one_download(web: WebServer) -> None:
    downloads = Path(os.environ["TEXTGATE_DOWNLOADS"])
    for signature, rows in (("old", ROWS), ("new", SWAPPED)):
        web.pages[f"/data.csv?sig={signature}"] = Page(rows)
        hidden = SourceUrls().hide(f"{web.address}/data.csv?sig={signature}")
        assert fetched(hidden) == rows
        for folder in downloads.glob("https/*/*"):
            os.utime(folder, (0, 0))
    assert [path.read_bytes() for path in downloads.rglob("data.csv")] == [SWAPPED]


def test_a_url_whose_query_is_not_known_says_where_to_set_it(web: WebServer) -> None:
    with pytest.raises(InputError, match=r"data\.csv\?\*\*\*\* is never stored: .* TEXTGATE_SOURCE_URLS"):
        fetch(f"{web.address}/data.csv?****", Path())


def test_sources_that_differ_in_hidden_parts_only_are_refused() -> None:
    urls = SourceUrls()
    urls.hide("https://host/data.csv?id=1")
    urls.hide("https://host/data.csv?id=1")
    with pytest.raises(InputError, match="two sources of the recipe differ only in the query") as error:
        urls.hide("https://host/data.csv?id=2")
    assert "id=" not in str(error.value)
    with pytest.raises(InputError, match=r"^s3://\*\*\*\*@bucket/key must not hold a user name or password"):
        urls.hide("s3://key:secret@bucket/key")


@pytest.mark.parametrize("query", ["sig=5ec2e7 and more", "sig=5ec2e7\x00"])
def test_no_error_names_the_query(web: WebServer, query: str) -> None:
    for path in ("absent.csv", "moved.csv", ""):
        web.pages[f"/{path}?{query}"] = Page(status=302, headers={"Location": f"https://192.0.2.1:x/?{query}"})
        with pytest.raises(InputError) as error:
            fetched(f"{web.address}/{path}?{query}")
        assert "5ec2e7" not in str(error.value)


def test_a_redirect_keeps_the_password_on_its_origin_and_hides_its_target(web: WebServer) -> None:
    basic = f"Basic {base64.b64encode(b'ann:pass').decode()}"
    uri = f"{web.address.replace('//', '//ann:pass@')}/moved.csv"
    web.pages["/moved.csv"] = Page(status=302, headers={"Location": "/data.csv?sig=5ec2e7"})
    web.pages["/data.csv?sig=5ec2e7"] = Page(ROWS, authorization=basic)
    assert fetched(uri) == ROWS
    with web_server() as other:
        web.pages["/moved.csv"] = Page(status=302, headers={"Location": f"{other.address}/data.csv"})
        other.pages["/data.csv"] = Page(SWAPPED)
        assert fetched(uri) == SWAPPED
        assert "Authorization" not in other.seen_headers[0]
    web.pages["/moved.csv"] = Page(status=302, headers={"Location": "http://192.0.2.1/data.csv?sig=5ec2e7"})
    with pytest.raises(InputError, match=r"http://192\.0\.2\.1/data\.csv\?\*\*\*\* is not https://"):
        fetched(uri)


def test_redirects_are_limited(web: WebServer) -> None:
    for index in range(20):
        web.pages[f"/{index}.csv"] = Page(status=302, headers={"Location": f"/{index + 1}.csv"})
    web.pages["/20.csv"] = Page(ROWS)
    assert fetched(f"{web.address}/10.csv") == ROWS
    with pytest.raises(InputError, match="redirects more than 10 times"):
        fetched(f"{web.address}/0.csv")


@pytest.mark.parametrize(
    ("name", "compress"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_an_encoded_body_is_decoded(web: WebServer, name: str, compress: object) -> None:
    content = ROWS * 100_000
    encoded = compress(content)  # type: ignore[operator]
    web.pages["/data.csv"] = Page(encoded, {"Content-Encoding": name})
    assert fetched(f"{web.address}/data.csv") == content
    web.pages["/data.csv"] = Page(encoded[:-20], {"Content-Encoding": name})
    with pytest.raises(InputError, match="broke off"):
        fetched(f"{web.address}/data.csv")


def test_a_gz_file_stays_as_its_name_says_and_other_encodings_are_refused(web: WebServer) -> None:
    encoded = gzip.compress(ROWS)
    web.pages["/data.csv.gz"] = Page(encoded, {"Content-Encoding": "x-gzip"})
    assert fetched(f"{web.address}/data.csv.gz") == encoded
    web.pages["/data.csv"] = Page(ROWS, {"Content-Encoding": "br"})
    with pytest.raises(InputError, match="Content-Encoding 'br': only gzip and deflate can be decoded"):
        fetched(f"{web.address}/data.csv")


@pytest.mark.parametrize(
    "page",
    [
        Page(ROWS, {"Content-Length": "1000"}),
        Page(ROWS, {"X-Broken": "1"}, chunked=True),
        Page(ROWS, {"Content-Encoding": "gzip"}),
    ],
)
def test_a_body_that_breaks_off_is_an_input_error_and_leaves_nothing(web: WebServer, page: Page) -> None:
    web.pages["/data.csv"] = page
    with pytest.raises(InputError, match="broke off"):
        fetched(f"{web.address}/data.csv")
    assert not [path for path in Path(os.environ["TEXTGATE_DOWNLOADS"]).rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "page",
    [
        Page(ROWS * 1_000),
        Page(ROWS * 1_000, chunked=True),
        Page(gzip.compress(ROWS * 100_000), {"Content-Encoding": "gzip"}),
    ],
)
def test_a_body_that_the_disk_has_no_room_for_is_refused(
    web: WebServer, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    nearly_full = shutil.disk_usage("/")._replace(free=20_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nearly_full)
    web.pages["/data.csv"] = page
    with pytest.raises(InputError, match=r"there is room for 18,000: free some disk space, or set TEXTGATE_DOWNLOADS"):
        fetched(f"{web.address}/data.csv")
    assert not [path for path in Path(os.environ["TEXTGATE_DOWNLOADS"]).rglob("*") if path.is_file()]


def test_the_proxy_of_the_environment_is_not_asked_for_this_machine(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    web.pages["/data.csv"] = Page(ROWS)
    assert fetched(f"{web.address}/data.csv") == ROWS
