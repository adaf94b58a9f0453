"""How many texts a device holds at once while training, found by trying."""

import ctypes
import gc
from pathlib import Path
from typing import Any

import torch

_USABLE = 0.8
"""Share of the free memory that a batch may take: the allocator wants some too."""


def probe_batch_size(model: Any, longest: Any, batch_size: int) -> int:
    """The largest divisor of ``batch_size`` whose forward and backward pass of the longest text fits the memory.

    ``longest`` is a batch of that one text. The peak is measured at one and at four texts and grows linearly beyond, so
    that the probe does not run out of memory by itself. It leaves no gradients, and the random state as it was.
    """
    if torch.cuda.is_available():
        model.to(torch.cuda.current_device())
    _peak_bytes(model, longest, 1)  # what is loaded and allocated only once
    one, four = _peak_bytes(model, longest, 1), _peak_bytes(model, longest, 4)
    per_row = max((four - one) / 3, 1)
    free = _free_bytes()
    # Still to come: gradients and Adam's two moments of every weight that is trained.
    states = 12 * sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    fitting = (free - states) * _USABLE / per_row
    fitted = max(rows for rows in range(1, batch_size + 1) if batch_size % rows == 0 and (rows == 1 or rows <= fitting))
    print(
        f"a text of {longest['input_ids'].shape[1]} tokens takes {per_row / 2**20:,.1f} MiB to train on, "
        f"{free / 2**30:,.1f} GiB are free: {fitted} at once",
        flush=True,
    )
    return fitted


def _peak_bytes(model: Any, longest: Any, rows: int) -> int:
    """The most bytes held during a forward and backward pass of so many texts."""
    device = next(model.parameters()).device
    batch = {name: value.expand(rows, *value.shape[1:]).to(device) for name, value in longest.items()}
    labels = batch.pop("labels")
    gc.collect()
    with torch.random.fork_rng():
        _reset_peak()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = model.train()(**batch).logits
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits.float(), labels))
        peak = _peak()
    model.zero_grad(set_to_none=True)
    return peak


def _free_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return
    # What the allocator holds free would be taken first, and not be seen: malloc_trim(3) gives it back. musl has none.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    # Linux: writing 5 sets the peak of the resident set back to what it is (proc(5), /proc/pid/clear_refs).
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def _peak() -> int:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
