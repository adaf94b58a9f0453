"""Files on the web: ``https://``, and ``http://`` on the loopback interface."""

import shutil
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from textgate.components.contracts import InputError
from textgate.components.sources.digest import digest

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_TIMEOUT_SECONDS = 60
_CHUNK_BYTES = 1 << 20


def fetch(url: str, downloads: Path) -> Path:
    """Download a file.

    Raises:
        InputError: The URL is not https, cannot be reached, names no file, or the response is incomplete.
    """
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not name:
        raise InputError(f"{url} names no file: its last part tells the format, such as data.csv")
    folder = downloads / "https" / digest(url)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.part"
    try:
        with _open(url) as response, partial.open("wb") as file:
            expected = response.headers.get("Content-Length")  # type: ignore[attr-defined]
            shutil.copyfileobj(response, file, _CHUNK_BYTES)
    except OSError as error:
        raise InputError(f"{url} broke off: {error}") from error
    if expected is not None and partial.stat().st_size != int(expected):
        raise InputError(f"{url} broke off after {partial.stat().st_size:,} of {int(expected):,} bytes")
    return partial.rename(folder / name)


def version(url: str) -> str:
    """Return the digest of the ETag, Last-Modified and Content-Length headers.

    Raises:
        InputError: The URL is not https, or cannot be reached.
    """
    with _open(url, "HEAD") as response:
        headers = response.headers  # type: ignore[attr-defined]
        return digest(*(headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Length")))


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirect handler that follows only URLs which may be fetched directly."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        _require_safe(newurl)
        # A remote server must not make this machine call its own unencrypted services.
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise InputError(f"{req.full_url} redirects to {newurl}, which is not https://")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_safe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise InputError(f"{url} is not https://; http:// is allowed for this machine only")


def _open(url: str, method: str = "GET") -> IO[bytes]:
    _require_safe(url)
    request = urllib.request.Request(url, method=method, headers={"User-Agent": "textgate"})  # noqa: S310
    try:
        response: IO[bytes] = urllib.request.build_opener(_SafeRedirects).open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise InputError(f"{url} cannot be reached: {getattr(error, 'reason', error)}") from error
    return response
