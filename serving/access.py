"""Authorization by API key, shared by HTTP and gRPC."""

from collections.abc import Mapping

from textgate.serving.errors import RequestError
from textgate.serving.keys import Keys, Role


def authorize(keys: Keys | None, required_role: Role | None, headers: Mapping[bytes, bytes]) -> str | None:
    """Check the key in the headers ``Authorization`` or ``X-API-Key`` against the role that a route requires.

    Args:
        keys: The accepted keys; None allows everything that the role ``user`` may do.
        required_role: Role of the route; None for a public route.
        headers: Header names in lower case, and their values.

    Returns:
        The name of the key, safe to log; None if no key was checked.

    Raises:
        RequestError: 401 if the key is missing or unknown; 403 if the route requires an admin key.
    """
    if required_role is None:
        return None
    if keys is None:
        if required_role == "admin":
            raise RequestError(403, "this needs an admin key, and the server was started without --keys")
        return None
    bearer = headers.get(b"authorization", b"")
    key = bearer[7:] if bearer[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
    holder = keys.find(key.decode("latin-1"))
    if holder is None:
        raise RequestError(401, "this needs a key: send it as Authorization: Bearer KEY")
    if required_role == "admin" and holder.role != "admin":
        raise RequestError(403, "this needs an admin key")
    return holder.name
