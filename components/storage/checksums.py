"""Checksums of objects: each PUT carries one that the store verifies and one that readers verify.

Content-MD5 is verified by the store (Amazon S3 API reference, PutObject and UploadPart; a store answers BadDigest).
The sha256 of the object is stored in its metadata as ``x-amz-meta-sha256``, which every store keeps. So a changed bit
is noticed on the way to the store, in the store, and on the way back.

Objects of other programs and of earlier versions have no such metadata. Their ETag is their MD5 unless they were
written in parts or are encrypted with a key of KMS. An object with neither is read until two reads agree; over TLS,
which detects changed bytes itself, one read suffices. The same holds for listings, which carry no checksum.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from textgate.components.contracts import DamagedError
from textgate.components.storage.errors import CorruptedAnswerError

_SHA256 = re.compile("[0-9a-f]{64}")


def content_md5(data: bytes) -> str:
    """Return the header Content-MD5 (RFC 1864)."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")


def stored_sha256(answer: Mapping[str, Any]) -> str | None:
    """Return the hex sha256 in the metadata of a GET's or HEAD's answer, or None if there is none."""
    value = answer.get("Metadata", {}).get("sha256", "")
    return value if _SHA256.fullmatch(value) else None


class ReadVerifier:
    """Verifier of one object that is read once, or again if it arrives with other bytes.

    Args:
        uri: URI of the object, for messages.
        tls: Whether the connection is protected by TLS, which detects changed bytes (RFC 8446, section 5.2).
    """

    def __init__(self, uri: str, *, tls: bool) -> None:
        self._uri, self._tls = uri, tls
        self._mismatches: set[str] = set()
        """Digests of the reads that did not match."""

    def new_digest(self, answer: Mapping[str, Any]) -> Any:
        """Return the hash object to update with the content of a read; ``answer`` is that to the GET or HEAD."""
        return hashlib.sha256() if stored_sha256(answer) else hashlib.md5(usedforsecurity=False)

    def check(self, answer: Mapping[str, Any], digest: Any) -> None:
        """Check a complete read.

        Raises:
            CorruptedAnswerError: It does not match and should be read again.
            DamagedError: Two reads agree that the object is damaged in the store.
        """
        expected, actual = stored_sha256(answer), digest.hexdigest()
        if actual == (expected or answer["ETag"].strip('"')):
            return
        if expected is None:
            if self._tls or actual in self._mismatches:
                return
        elif actual in self._mismatches:
            raise DamagedError(f"{self._uri} is damaged: its sha256 is {actual[:12]}…, not {expected[:12]}… as written")
        self._mismatches.add(actual)
        raise CorruptedAnswerError(self._uri)
