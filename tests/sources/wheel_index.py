"""A package index in a folder, with one wheel."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from textgate.components.contracts import file_sha256


def serve_wheel(folder: Path, files: Mapping[str, str | bytes], monkeypatch: pytest.MonkeyPatch) -> str:
    """Make pip find only the wheel ``some-data`` 1.0 with these files, and return its sha256."""
    folder.mkdir()
    wheel, metadata = folder / "some_data-1.0-py3-none-any.whl", "some_data-1.0.dist-info"
    described = {
        f"{metadata}/METADATA": "Metadata-Version: 2.1\nName: some-data\nVersion: 1.0\n",
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{metadata}/RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, **described}.items():
            archive.writestr(name, content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return file_sha256(wheel)
