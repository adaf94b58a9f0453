"""Who may do what, by the key that comes with a request; the same over HTTP and gRPC."""

from collections.abc import Mapping

from textgate.serving.errors import RequestError
from textgate.serving.keys import Keys, Role


def authorize(keys: Keys | None, needed: Role | None, headers: Mapping[bytes, bytes]) -> str | None:
    """Let a request pass by its ``Authorization`` or ``X-API-Key``; without ``keys``, whatever a user may do.

    Returns whose key it is, safe to log.

    Raises:
        RequestError: 401, its key is nobody's; 403, it takes an admin's.
    """
    if needed is None:
        return None
    if keys is None:
        if needed == "admin":
            raise RequestError(403, "this needs an admin key, and the server was started without --keys")
        return None
    bearer = headers.get(b"authorization", b"")
    presented = bearer[7:] if bearer[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
    holder = keys.holder(presented.decode("latin-1"))
    if holder is None:
        raise RequestError(401, "this needs a key: send it as Authorization: Bearer KEY")
    if needed == "admin" and holder.role != "admin":
        raise RequestError(403, "this needs an admin key")
    return holder.name
