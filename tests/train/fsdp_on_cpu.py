"""Run ``textgate.components.train.node`` with FSDP on CPUs, which accelerate does not list as supported.

torch itself can shard over gloo, so two processes without a GPU are enough to test a training with FSDP.
"""

import runpy
from collections.abc import Callable
from typing import Any

import torch
from accelerate.state import AcceleratorState, DistributedType, PartialState
from torch.distributed.checkpoint import state_dict
from torch.utils._pytree import tree_map_only

_initialise = AcceleratorState.__init__


def _with_fsdp(self: AcceleratorState, *arguments: Any, fsdp_plugin: Any = None, **others: Any) -> None:
    _initialise(self, *arguments, fsdp_plugin=fsdp_plugin, **others)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        print("sharded by FSDP", flush=True)


def _cloned(gather: Callable[..., Any]) -> Callable[..., Any]:
    """Clone the gathered tensors: on a GPU, copying them to the CPU waits for the gathering; here the clone does."""
    return lambda *arguments, **options: tree_map_only(torch.Tensor, torch.clone, gather(*arguments, **options))


AcceleratorState.__init__ = _with_fsdp  # type: ignore[method-assign]
state_dict.get_model_state_dict = _cloned(state_dict.get_model_state_dict)
state_dict.get_optimizer_state_dict = _cloned(state_dict.get_optimizer_state_dict)
runpy.run_module("textgate.components.train.node", run_name="__main__")
