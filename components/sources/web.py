"""Files on the web: ``https://``, and ``http://`` on the loopback interface.

Every request is a GET, also the one that looks for a new version, which is closed after the header if that suffices:
servers refuse HEAD (403 for a presigned S3 URL, whose signature covers the method; 405 and 501 elsewhere) or answer it
with other header fields.
"""

import base64
import http.client
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from textgate.components.contracts import InputError, file_sha256, redact, remove_leftovers
from textgate.components.sources.cache import changed, fetch_verified, remove_unused, store_verified
from textgate.components.sources.digest import digest
from textgate.components.sources.downloads import default_downloads, require_room, usable_bytes, write_chunks
from textgate.components.sources.source_urls import full_url

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_TIMEOUT_SECONDS = 60
_MAX_REDIRECTS = 10
_CHUNK_BYTES = 1 << 20


def fetch(url: str, downloads: Path, version: str | None = None) -> Path:
    """Download a file, unless this version of it is there already.

    Raises:
        InputError: The URL is not https, cannot be reached or names no file, its query is not known, the response is
            incomplete or encoded, or the disk has no room for it.
        ConflictError: There is another version at the URL.
    """
    folder, name = _folder(url, downloads), _name(url)
    version = version or _find_version(url, folder)
    path = fetch_verified(folder / version, name, url, lambda path: _download(url, path, str(version)))
    remove_unused(folder, version)
    return path


def version(url: str) -> str:
    """Return a digest of ETag, Last-Modified and Content-Length, or of the content if the server sends no validator.

    A validator (RFC 9110, section 8.8) is an ETag, weak or strong, or a Last-Modified at least a second before the
    response. A Content-Length alone is none: an edited file often has the same length. Without a validator the file is
    downloaded, for ``fetch`` to find it.

    Raises:
        InputError: See ``fetch``.
    """
    return _find_version(url, _folder(url, default_downloads()))


def _find_version(url: str, folder: Path) -> str:
    name = _name(url)
    with _open(url) as response:
        version = _declared_version(response.headers)
        if version is not None:
            return version
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        with tempfile.TemporaryDirectory(prefix=".content-", dir=folder) as scratch:
            path = Path(scratch) / name
            _save(response, url, path)
            version = _content_version(path)
            store_verified(folder / version, name, path.rename)
    return version


def _download(url: str, path: Path, version: str) -> None:
    """Download a version; its validators come with the same response as its bytes."""
    with _open(url) as response:
        declared = _declared_version(response.headers)
        if declared not in (None, version):
            raise changed(url)
        _save(response, url, path)
    if declared is None and _content_version(path) != version:
        raise changed(url)


def _content_version(path: Path) -> str:
    return digest("sha256", file_sha256(path))


def _declared_version(headers: HTTPMessage) -> str | None:
    """Return the version that the header fields declare; None without a validator."""
    if not _has_validator(headers):
        return None
    return digest(*(headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Length")))


def _has_validator(headers: HTTPMessage) -> bool:
    if "ETag" in headers:
        return True
    try:
        modified = parsedate_to_datetime(headers["Last-Modified"])
        return (parsedate_to_datetime(headers["Date"]) - modified).total_seconds() >= 1
    except (TypeError, ValueError):  # absent or malformed
        return False


def _folder(url: str, downloads: Path) -> Path:
    """Return the folder of all versions of a URL, whatever its signature."""
    return downloads / "https" / digest(redact(full_url(url)))


def _name(url: str) -> str:
    """Return the name of the file, which tells the format."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if name in ("", "..") or not name.isprintable():
        raise InputError(f"{url} names no file: its last part tells the format, such as data.csv")
    return name


def _save(response: HTTPResponse, url: str, path: Path) -> None:
    """Write the body of a response to a file in a temporary folder."""
    limit = usable_bytes(path.parent)
    require_room(response.length or 0, limit, url)
    body = _Body(response)
    try:
        with path.open("wb") as file:
            write_chunks(_decoded(body, response.headers, path, url), file, limit, url)
    except (OSError, http.client.HTTPException, zlib.error) as error:
        raise InputError(f"{url} broke off: {error or type(error).__name__}") from error
    if body.expected is not None and body.received != body.expected:
        raise InputError(f"{url} broke off after {body.received:,} of {body.expected:,} bytes")


class _Body:
    """Body of a response in chunks, counted."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self.expected = response.length
        """Content-Length; None if the server does not send it."""
        self.received = 0

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._response.read(_CHUNK_BYTES):
            self.received += len(chunk)
            yield chunk


def _decoded(body: _Body, headers: HTTPMessage, path: Path, url: str) -> Iterator[bytes]:
    """Yield the content of a body in chunks of at most 1 MiB.

    Some servers compress although the request refuses it. A ``.gz`` file is sometimes declared to be an encoding of the
    file inside; it is kept as its name says.
    """
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity") or (encoding in ("gzip", "x-gzip") and path.suffix.lower() == ".gz"):
        yield from body
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise InputError(f"{url} is sent with the Content-Encoding {encoding!r}: only gzip and deflate can be decoded")
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS + 32)  # recognizes gzip and zlib
    for chunk in body:
        pending = chunk
        while pending:
            yield decoder.decompress(pending, _CHUNK_BYTES)
            pending = decoder.unconsumed_tail
    yield decoder.flush()
    if not decoder.eof:
        raise InputError(f"{url} broke off: its {encoding} encoding has no end")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirect handler that follows only URLs which may be fetched directly."""

    max_redirections = _MAX_REDIRECTS

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        _require_safe(newurl)
        # A remote server must not make this machine call its own unencrypted services.
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise InputError(f"{req.full_url} redirects to {newurl}, which is not https://")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and _origin(urlsplit(newurl)) == _origin(urlsplit(req.full_url)):
            request.unredirected_hdrs.update(req.unredirected_hdrs)
        return request


def _origin(parts: SplitResult) -> tuple[str, str]:
    return parts.scheme, parts.netloc


def _require_safe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise InputError(f"{url} is not https://; http:// is allowed for this machine only")


def _open(url: str) -> HTTPResponse:
    full = full_url(url)
    _require_safe(full)
    parts = urlsplit(full)
    user, _, host = parts.netloc.rpartition("@")
    headers = {"User-Agent": "textgate", "Accept-Encoding": "identity"}
    request = urllib.request.Request(parts._replace(netloc=host).geturl(), headers=headers)  # noqa: S310
    if user:
        # Sent to this origin only, see _SafeRedirects.
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(unquote(user).encode()).decode()}")
    handlers: list[urllib.request.BaseHandler] = [_SafeRedirects()]
    if parts.hostname in _LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        response: HTTPResponse = urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        problem = f"answered {error.code} {error.reason}"
        if 300 <= error.code < 400:
            problem = f"redirects more than {_MAX_REDIRECTS} times, in a circle, or to what is not https://"
        raise InputError(f"{url} {problem}") from error
    except (urllib.error.URLError, OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(f"{url} cannot be reached: {getattr(error, 'reason', None) or error}") from error
    return response
