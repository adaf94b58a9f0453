"""Work of one of many processes that start on one cold cache."""

import os
from pathlib import Path

from textgate.components.contracts import ConflictError, Source
from textgate.components.ingest.ingest import ingest_source
from textgate.components.sources import fetch
from textgate.components.sources.digest import digest_of


def fetch_all(uris: list[str], downloads: Path) -> list[str]:
    """Return the digest of each URI's content."""
    return [digest_of(fetch(uri, downloads)) for uri in uris]


def ingest_all(sources: dict[str, Source], output: Path, downloads: Path) -> dict[str, tuple[str, int] | str]:
    """Return the version and the rows of each source, or the sentence by which it was refused."""
    outcomes: dict[str, tuple[str, int] | str] = {}
    for name, source in sources.items():
        try:
            manifest = ingest_source(source, output / name, downloads)
        except ConflictError as error:
            outcomes[name] = str(error)
        else:
            outcomes[name] = manifest.source_version, manifest.rows_in
    return outcomes


def set_environment(environment: dict[str, str]) -> None:
    os.environ.update(environment)


def fetch_in(environment: dict[str, str], uri: str, downloads: Path) -> None:
    """Fetch one URI with other environment variables."""
    set_environment(environment)
    fetch_all([uri], downloads)
