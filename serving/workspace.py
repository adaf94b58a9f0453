"""The server's folder on disk: downloaded bundles, and the last version of each channel that was served.

``models/<model>/<version>/`` holds bundles; ``channels/<model>/<channel>`` holds a version, for a restart without the
store.
"""

import logging
import re
import shutil
from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.contracts.model_name import MODEL_NAME
from textgate.components.inference.failures import describe, failures_as
from textgate.components.storage import ModelRef, Registry
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
    _downloaded: set[tuple[str, str]] = field(default_factory=set)
    """Models and versions that this process downloaded."""

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
                return open_version(model, version, folder, self.threads)
            except InputError as error:
                if _is_intact(folder, version):
                    raise
                log_event("downloaded again", logging.WARNING, model=model, version=version, reason=describe(error))
                shutil.rmtree(folder)
        if outage:
            raise outage
        self.registry.download(model, version, folder)
        self._downloaded.add((model, version))
        return open_version(model, version, folder, self.threads)

    def delete_unused(self, in_use: Set[tuple[str, str]]) -> None:
        """Delete the bundles that this process downloaded, except models and versions ``in_use``."""
        for model, version in sorted(self._downloaded - in_use):
            shutil.rmtree(self._bundle_folder(model, version), ignore_errors=True)
        self._downloaded &= in_use

    def last_models(self) -> list[str]:
        """Return the models whose champions were served last, sorted."""
        folder = self.folder / "channels"
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def last_version(self, target: ModelRef) -> str | None:
        """Return the version of a channel that was served last, or None."""
        file = self._channel_file(target)
        return file.read_text("utf-8").strip() if target.version is None and file.is_file() else None

    def remember_version(self, target: ModelRef, version: str) -> None:
        """Write down the version of a channel that is served now."""
        file = self._channel_file(target)
        # Only a restart without the store needs this file.
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            new_file = file.with_name(f"{target.channel}.new")
            new_file.write_text(version, "utf-8")
            new_file.replace(file)

    def _bundle_folder(self, model: str, version: str) -> Path:
        return self.folder / "models" / model / version

    def _channel_file(self, target: ModelRef) -> Path:
        return self.folder / "channels" / target.model / target.channel


def _is_intact(folder: Path, version: str) -> bool:
    """Return True if a folder contains exactly the files of the version, so that another download is of no use."""
    try:
        with failures_as(InputError):
            return ModelBundle.load(folder).fingerprint.startswith(version)
    except InputError:
        return False
