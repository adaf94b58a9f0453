"""Garbage in the store and the workspace: what no channel, rollback, block, running run or server needs.

``find_store_garbage`` and ``find_workspace_garbage`` list it, and each item removes itself.
"""

from textgate.pipelines.garbage.item import Garbage, Retention
from textgate.pipelines.garbage.store_garbage import StoreGarbage, find_store_garbage
from textgate.pipelines.garbage.workspace_garbage import find_workspace_garbage, no_runs

__all__ = ["Garbage", "Retention", "StoreGarbage", "find_store_garbage", "find_workspace_garbage", "no_runs"]
