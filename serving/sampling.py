"""Which requests a share of them is."""

import hashlib


def sampled(request_id: str, share: float, purpose: str) -> bool:
    """Whether a request is among the ``share`` (0 to 1) of all; the same on every server, and for all its texts.

    Shares for different purposes are independent: what a challenger answers is neither all logged nor never.
    """
    if share <= 0:
        return False
    digest = hashlib.sha256(f"{purpose}\0{request_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
