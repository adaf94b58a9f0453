"""API keys: a file with one line per key, `name role sha256`, that does not contain the keys themselves.

    # name  role   sha256 of the key
    films   user   9f86d081884c7d65...
    deploy  admin  60303ae22b998861...

Plain SHA-256, fast and without salt, is sufficient because keys are generated from 256 random bits: they cannot be
guessed, and no two are equal. NIST SP 800-63B-3, 5.1.2.2: secrets with at least 112 bits of entropy are hashed with an
approved one-way function; salt and a slow function are for weaker secrets. OWASP ASVS 5.0, 6.5.2, draws the same line.
The file must therefore contain only keys made by ``new_key``: a password would be found quickly.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from textgate.components.contracts import InputError

Role = Literal["user", "admin"]

_ROLES: dict[str, Role] = {"user": "user", "admin": "admin"}
_KEY_BYTES = 32
_PREFIX = "tg_"
"""Prefix of a key, by which people and secret scanners recognize it."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LINE = f"a line is NAME {'|'.join(_ROLES)} SHA256"


@dataclass(frozen=True)
class KeyHolder:
    """Person or program that an API key was issued to."""

    name: str
    """Name, safe to log."""
    role: Role
    digest: bytes = field(repr=False)


class Keys:
    """Accepted API keys."""

    def __init__(self, holders: Sequence[KeyHolder]) -> None:
        self._holders = tuple(holders)

    def replace_with(self, keys: "Keys") -> None:
        """Accept the keys of another object instead, from the next request on."""
        self._holders = keys._holders

    @classmethod
    def read(cls, path: Path) -> "Keys":
        """Read a key file; ``path`` may be a symbolic link, as in a mounted secret.

        Raises:
            InputError: If the file cannot be read, others than its owner may write it, or a line is invalid.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                lines = file.read().decode("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as a file of API keys ({error})") from error
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise InputError(
                f"{path} controls access, but users other than its owner can write to it: chmod go-w {path}"
            )
        holders: dict[str, KeyHolder] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            holder = _parse_line(line, f"{path}, line {number}")
            if holder.name in holders:
                raise InputError(
                    f"{path}, line {number}: the name {holder.name} is used by an earlier line: choose another"
                )
            if any(holder.digest == other.digest for other in holders.values()):
                raise InputError(f"{path}, line {number}: {holder.name} has the key of an earlier line: make a new key")
            holders[holder.name] = holder
        if not holders:
            raise InputError(f"{path} contains no key, so every request would be rejected: {_LINE}")
        return cls(list(holders.values()))

    def find(self, key: str | None) -> KeyHolder | None:
        """Return the holder of a key; None if the key is unknown.

        Every stored key is compared in constant time, so that the duration reveals nothing about them.
        """
        if key is None:
            return None
        digest, found = _digest(key), None
        for holder in self._holders:
            if hmac.compare_digest(digest, holder.digest):
                found = holder
        return found


def new_key(name: str, role: Role) -> tuple[str, str]:
    """Generate an API key.

    Returns:
        The key, which is not stored anywhere, and its line for the key file.

    Raises:
        InputError: If the name is invalid.
    """
    key = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    return key, f"{_check_name(name, 'the key')} {role} {_digest(key).hex()}"


def _parse_line(line: str, where: str) -> KeyHolder:
    """Parse a line; error messages never contain it, because it may be a key put there by mistake."""
    words = line.split()
    if len(words) != 3:
        raise InputError(f"{where}: it has {len(words)} words instead of 3: {_LINE}")
    name, role, digest = words
    if role not in _ROLES:
        raise InputError(f"{where}: its second word is none of {', '.join(_ROLES)}: {_LINE}")
    if not _SHA256.fullmatch(digest):
        raise InputError(f"{where}: its third word is not a SHA-256 in 64 lower-case hexadecimal digits")
    return KeyHolder(_check_name(name, where), _ROLES[role], bytes.fromhex(digest))


def _check_name(name: str, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(f"{where}: its name is not 1 to 64 ASCII letters, digits, dots, hyphens and underscores")
    return name


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
