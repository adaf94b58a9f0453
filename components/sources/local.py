"""Files and folders on local disk: a path or ``file://``."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from textgate.components.contracts import InputError, file_sha256
from textgate.components.sources.digest import digest


def fetch(uri: str, downloads: Path) -> Path:
    """Return the path itself; nothing is copied.

    Raises:
        InputError: The path does not exist.
    """
    return _existing_path(uri)


def version(uri: str) -> str:
    """Return the digest of the names and contents of all files.

    Raises:
        InputError: The path does not exist or cannot be read.
    """
    path = _existing_path(uri)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    try:
        return digest(*(f"{file.relative_to(path)}\0{file_sha256(file)}" for file in files))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _existing_path(uri: str) -> Path:
    path = Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)
    if not path.exists():
        raise InputError(
            f"there is no file or folder {path}: say where the source lies with --source, "
            "a base model with --set train.base_model=…"
        )
    return path
