"""The server's folder on disk: downloaded bundles, and the last version of each channel that was served.

``models/<model>/<version>/`` holds bundles; ``channels/<model>/<channel>`` holds the version that was loaded, warmed up
and served last, for a restart without the store. Several servers may share the folder: one of them downloads a bundle
while the others wait, and a bundle is deleted by the last server that has it open. Both are locks (flock) on folders,
which end with the process and leave no files.
"""

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from textgate.components.contracts import InputError, ModelBundle, new_folder, write_file
from textgate.components.contracts.model_name import MODEL_NAME
from textgate.components.inference.device import Device
from textgate.components.inference.failures import describe, failures_as
from textgate.components.storage import CHAMPION, ModelRef, Registry
from textgate.serving.loading import open_version
from textgate.serving.log import log_event
from textgate.serving.served_model import ServedVersion

_VERSION = re.compile(r"[0-9a-f]{12}")


def check_names(target: ModelRef) -> None:
    """Check that a model and a channel have proper names, since they become paths on disk.

    Raises:
        InputError: If one has not.
    """
    for kind, name in (("model", target.model), ("channel", target.channel)):
        if not MODEL_NAME.fullmatch(name):
            raise InputError(f"{name[:100]!r} is no name for a {kind}: lower-case letters, digits and inner hyphens")


@dataclass
class Workspace:
    """Folder of a server; used under the repository's lock."""

    folder: Path
    registry: Registry
    threads: int
    """Number of threads that predict."""
    device: Device = "cpu"
    """Device that runs ONNX graphs."""
    _opened: dict[tuple[str, str], int] = field(default_factory=dict)
    """Descriptors of the bundles' folders by model and version, each with a shared lock."""

    def open(self, model: str, version: str, outage: InputError | None = None) -> ServedVersion:
        """Return a version that is checked and warmed up; download it unless it is on disk undamaged.

        Args:
            model: Name of the model.
            version: Version to open.
            outage: Raised instead of downloading, if the store is known to be unreachable.

        Raises:
            InputError: If it cannot be downloaded or served.
        """
        if not _VERSION.fullmatch(version):
            raise InputError(f"{version[:100]!r} is no version: a version has 12 hexadecimal digits")
        folder = self._bundle_folder(model, version)
        if folder.exists():
            try:
                with failures_as(InputError):
                    return self._open(model, version, folder)
            except InputError as error:
                if _is_intact(folder, version):
                    raise
                log_event("downloaded again", logging.WARNING, model=model, version=version, reason=describe(error))
        if outage:
            raise outage
        self._download(model, version, folder)
        return self._open(model, version, folder)

    def delete_unused(self, in_use: Set[tuple[str, str]]) -> None:
        """Delete the bundles that this process opened, except models and versions ``in_use``, here or elsewhere."""
        for model, version in sorted(self._opened.keys() - in_use):
            handle = self._opened.pop((model, version))
            # Fails while another server has the bundle open, and on file systems that cannot lock folders.
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(self._bundle_folder(model, version), ignore_errors=True)
            os.close(handle)

    def last_models(self) -> list[str]:
        """Return the models whose champions were served last, sorted."""
        return sorted(file.parent.name for file in self.folder.glob(f"channels/*/{CHAMPION}"))

    def last_version(self, target: ModelRef) -> str | None:
        """Return the version of a channel that was served last, or None."""
        file = self._channel_file(target)
        return file.read_text("utf-8").strip() if target.version is None and file.is_file() else None

    def remember_version(self, target: ModelRef, version: str | None) -> None:
        """Write down the version of a channel that is served now, or that none is, unless the target is pinned."""
        file = self._channel_file(target)
        # Only a restart without the store needs this file.
        with suppress(OSError):
            if version is None:
                file.unlink(missing_ok=True)
            elif target.version is None and self.last_version(target) != version:
                write_file(file, version)

    def _open(self, model: str, version: str, folder: Path) -> ServedVersion:
        handle = os.open(folder, os.O_RDONLY)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        earlier = self._opened.pop((model, version), None)
        if earlier is not None:
            os.close(earlier)
        self._opened[model, version] = handle
        return open_version(model, version, folder, self.threads, self.device)

    def _download(self, model: str, version: str, folder: Path) -> None:
        """Download a bundle, unless another server of this folder does so at the same time."""
        with _locked(folder.parent):
            if folder.exists():
                if _is_intact(folder, version):
                    return
                shutil.rmtree(folder)
            with new_folder(folder, keep_existing=True) as temporary:
                self.registry.download(model, version, temporary)

    def _bundle_folder(self, model: str, version: str) -> Path:
        return self.folder / "models" / model / version

    def _channel_file(self, target: ModelRef) -> Path:
        return self.folder / "channels" / target.model / target.channel


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot lock folders
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_intact(folder: Path, version: str) -> bool:
    """Return True if a folder contains exactly the files of the version, so that another download is of no use."""
    try:
        with failures_as(InputError):
            return ModelBundle.load(folder).fingerprint.startswith(version)
    except InputError:
        return False
