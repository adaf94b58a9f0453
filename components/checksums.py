"""Checksums of the artifacts that steps hand on: recorded by the step that writes one, compared by all that read it.

They are in the artifact's KFP metadata: on a cluster in KFP's database, in a local run in the cache entry, and in both
among the arguments of the step that reads it. That is apart from the files, so a folder exchanged for that of another
run is found as surely as a changed bit. The metadata are two strings, as KFP returns nested values in another form:

    sha256   hex sha256 over the lines "<sha256> <size> <path>" of all files, sorted by path
    files    a line "<first 16 hex digits> <size> <path>" per file, to name the file that changed

The digests in ``files`` are cut because KFP passes the metadata of all inputs to a pod as one argument, which Linux
limits to 128 KiB (execve(2), MAX_ARG_STRLEN): the 64 models of a sweep would come close to it.
"""

import hashlib
from pathlib import Path
from typing import Any, Protocol

_SHA256, _FILES = "sha256", "files"
_DIGITS = 16
_ITSELF = "."
"""Path of an artifact that is a file."""


class Artifact(Protocol):
    """Input or output of a KFP component; see ``kfp.dsl.Artifact``."""

    metadata: dict[str, Any]

    @property
    def path(self) -> str:
        """File or folder on this machine."""

    @property
    def uri(self) -> str:
        """Address in the object store; in a local run the path."""


def record_checksums(artifact: Artifact) -> None:
    """Add the checksums of an artifact's files to its metadata."""
    checksums = _checksums(Path(artifact.path))
    artifact.metadata.update({_SHA256: _digest(checksums), _FILES: "\n".join(_shortened(checksums).values())})


def has_checksums(artifact: Artifact) -> bool:
    """Return whether the step that wrote the artifact recorded its checksums."""
    return _SHA256 in artifact.metadata and _FILES in artifact.metadata


def damage(artifact: Artifact) -> str:
    """Return which file of an artifact is not as its step wrote it, such as "/a/b.json was changed".

    Returns:
        Empty string if all files are as they were, and for an artifact without checksums.
    """
    if not has_checksums(artifact):
        return ""
    try:
        checksums = _checksums(Path(artifact.path))
    except OSError as error:
        return f"{error.filename or artifact.uri} cannot be read ({error.strerror})"
    if _digest(checksums) == artifact.metadata[_SHA256]:
        return ""
    found = _shortened(checksums)
    written = {line.split(" ", 2)[-1]: line for line in str(artifact.metadata[_FILES]).split("\n") if line}
    for path in sorted(found.keys() | written.keys()):
        if found.get(path) != written.get(path):
            file = artifact.uri if path == _ITSELF else f"{artifact.uri}/{path}"
            return f"{file} {'is missing' if path not in found else 'was changed' if path in written else 'was added'}"
    return f"{artifact.uri} was changed"


def _checksums(artifact: Path) -> dict[str, tuple[str, int]]:
    """Return the hex sha256 and the size of each file by its path in the artifact, sorted; none if there is nothing."""
    if artifact.is_file():
        return {_ITSELF: _checksum(artifact)}
    files = {path.relative_to(artifact).as_posix(): path for path in artifact.rglob("*") if path.is_file()}
    return {name: _checksum(files[name]) for name in sorted(files)}


def _checksum(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def _digest(checksums: dict[str, tuple[str, int]]) -> str:
    lines = (f"{sha256} {size} {path}\n" for path, (sha256, size) in checksums.items())
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _shortened(checksums: dict[str, tuple[str, int]]) -> dict[str, str]:
    """Return the line of ``files`` by path."""
    return {path: f"{sha256[:_DIGITS]} {size} {path}" for path, (sha256, size) in checksums.items()}
