"""S3, and the model registry on it."""

from textgate.components.storage.embedded import Address, EmbeddedStore, connect
from textgate.components.storage.registry import CHAMPION, ChannelUpdate, ModelRef, Registry
from textgate.components.storage.s3 import DEFAULT_BUCKET, Store, Stored, StoredObject

__all__ = [
    "CHAMPION",
    "DEFAULT_BUCKET",
    "Address",
    "ChannelUpdate",
    "EmbeddedStore",
    "ModelRef",
    "Registry",
    "Store",
    "Stored",
    "StoredObject",
    "connect",
]
