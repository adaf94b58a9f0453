"""Access control: API keys, shared by HTTP and gRPC, and protection from web pages of other sites.

A server without keys listens on loopback only, but a browser on the same machine reaches it too. ``check_site``
therefore rejects what another site's page can make a browser send: requests to a name that the site points at 127.0.0.1
(DNS rebinding), and cross-site requests (OWASP, "Cross-Site Request Forgery Prevention Cheat Sheet": verifying the
origin with standard headers, and Fetch Metadata).
"""

from collections.abc import Collection, Mapping
from urllib.parse import SplitResult, urlsplit

from textgate.serving.errors import RequestError
from textgate.serving.keys import Keys, Role

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


def authorize(keys: Keys | None, required_role: Role | None, headers: Mapping[str, str]) -> str | None:
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
    bearer = headers.get("authorization", "")
    key = bearer[7:] if bearer[:7].lower() == "bearer " else headers.get("x-api-key", "")
    holder = keys.find(key)
    if holder is None:
        raise RequestError(
            401, "this needs a key: send it as Authorization: Bearer KEY", headers=[("www-authenticate", "Bearer")]
        )
    if required_role == "admin" and holder.role != "admin":
        raise RequestError(403, "this needs an admin key")
    return holder.name


def check_site(host: str, headers: Mapping[str, str], allowed_hosts: Collection[str]) -> None:
    """Check that a request was not sent by a web page of another site.

    Args:
        host: Host that the request was sent to, with or without a port.
        headers: Header names in lower case, and their values.
        allowed_hosts: Host names without port under which this server may be addressed.

    Raises:
        RequestError: 403 if the host is not allowed, or the request is cross-site.
    """
    if (_split(f"//{host}").hostname or "") not in allowed_hosts:
        raise RequestError(
            403,
            f"this server does not answer for the host {host[:100]!r}: use {', '.join(allowed_hosts)}, or start the "
            "server with --allowed-host NAME or with --keys FILE",
        )
    origin = headers.get("origin")
    # "same-site" is not enough: every port of localhost is the same site.
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") or (
        origin is not None and _split(origin).netloc.lower() != host.lower()
    ):
        raise RequestError(403, "a web page of another site cannot use this server: start it with --keys FILE")


def _split(url: str) -> SplitResult:
    """Split a URL; all parts of an invalid one are empty."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")
