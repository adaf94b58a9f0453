"""Deterministic sampling of requests by their id."""

import hashlib


def is_sampled(request_id: str, share: float, purpose: str) -> bool:
    """Return whether a request is in the sample for a purpose.

    The decision depends on the arguments only, so every server makes the same one. Samples for different purposes are
    independent: of the requests that the challenger answers, the same share is logged as of all others.

    Args:
        request_id: Id of the request.
        share: Share of all requests to sample, 0 to 1.
        purpose: Name that separates independent samples.
    """
    if share <= 0:
        return False
    digest = hashlib.sha256(f"{purpose}\0{request_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
