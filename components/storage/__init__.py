"""S3 client, embedded S3 server, and the model registry."""

from textgate.components.storage.blocks import Block, Blocks
from textgate.components.storage.channel_update import ChannelUpdate
from textgate.components.storage.connection import connect, connect_if_possible
from textgate.components.storage.embedded import EmbeddedStore, ServerAddress
from textgate.components.storage.errors import StoreConnectionError
from textgate.components.storage.judgements import Judgement, Judgements
from textgate.components.storage.model_ref import CHAMPION, REFERENCE, ModelRef
from textgate.components.storage.reference import follow_reference, reference_version
from textgate.components.storage.registry import Registry
from textgate.components.storage.repair import Repair, plan_repair, repair_channel, repaired_channel
from textgate.components.storage.rollback import former_champions, roll_back
from textgate.components.storage.s3 import DEFAULT_BUCKET, ObjectContent, ObjectSummary, Store

__all__ = [
    "CHAMPION",
    "DEFAULT_BUCKET",
    "REFERENCE",
    "Block",
    "Blocks",
    "ChannelUpdate",
    "EmbeddedStore",
    "Judgement",
    "Judgements",
    "ModelRef",
    "ObjectContent",
    "ObjectSummary",
    "Registry",
    "Repair",
    "ServerAddress",
    "Store",
    "StoreConnectionError",
    "connect",
    "connect_if_possible",
    "follow_reference",
    "former_champions",
    "plan_repair",
    "reference_version",
    "repair_channel",
    "repaired_channel",
    "roll_back",
]
