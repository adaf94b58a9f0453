"""Secrets in the URLs of sources, which steps need and nothing stores.

A recipe is stored in many places: the compiled pipeline, the parameters and cache keys of its steps, bundle, record,
report and card. So the query and the user information of a URL are replaced by ``****`` before a pipeline is compiled.
The complete URLs reach the steps in the environment variable TEXTGATE_SOURCE_URLS, separated by spaces: the processes
and containers of a local run inherit it, the pods of a cluster get it from a Secret. ``full_url`` selects the URL that
differs from the recipe's in the hidden parts only.
"""

import os
from collections.abc import Iterable

from textgate.components.contracts import InputError, redact
from textgate.components.redaction import HIDDEN

SOURCE_URLS = "TEXTGATE_SOURCE_URLS"
"""Environment variable with complete URLs, separated by spaces."""


class SourceUrls:
    """URLs of the sources of one recipe."""

    def __init__(self) -> None:
        self._full: dict[str, str] = {}

    def hide(self, uri: str) -> str:
        """Return a URI without secrets; if it has some, full_url() returns it from now on, also in child processes.

        Raises:
            InputError: Another source of the recipe has the same URL without secrets, or the URL cannot be passed on.
        """
        hidden = redact(uri)
        if hidden == uri:
            return uri
        if not uri.startswith(("http://", "https://")):
            raise InputError(f"{hidden} must not hold a user name or password: set them in the environment instead")
        _require_printable(uri, hidden)
        if self._full.setdefault(hidden, uri) != uri:
            raise InputError(
                f"two sources of the recipe differ only in the query or user information of {hidden}, which is not "
                "stored: name one of them by another path, or download it and name the file"
            )
        others = (full for full in _environment_urls() if redact(full) != hidden)
        os.environ[SOURCE_URLS] = " ".join([*others, uri])
        return hidden


def full_url(url: str) -> str:
    """Return a URL with the secrets that ``SourceUrls.hide`` has replaced.

    Raises:
        InputError: The environment has no such URL, or the URL has a space or control character.
    """
    _require_printable(url, redact(url))
    if redact(url) != url or HIDDEN not in url:
        return url
    matching = [full for full in _environment_urls() if redact(full) == url]
    if not matching:
        raise InputError(
            f"the query or user information of {url} is never stored: give the complete URL with --source, or set it "
            f"in the environment variable {SOURCE_URLS} (on a cluster: in the Secret textgate-sources)"
        )
    return matching[-1]


def _environment_urls() -> Iterable[str]:
    return os.environ.get(SOURCE_URLS, "").split()


def _require_printable(url: str, hidden: str) -> None:
    if not url.isprintable() or " " in url:
        raise InputError(f"{hidden} holds a space or control character: write it as %20 or the like")
