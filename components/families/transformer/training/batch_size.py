"""Probe for the largest batch that fits the device's memory during training."""

import ctypes
import gc
from pathlib import Path
from typing import Any

import torch

_USABLE = 0.8
"""Share of the free memory that a batch may use; the rest is left for fragmentation in the allocator."""


def probe_batch_size(model: Any, longest: Any, batch_size: int, state_bytes: int) -> int:
    """Return the largest divisor of ``batch_size`` whose forward and backward pass fits the memory.

    The peak memory is measured with one and with four texts and extrapolated linearly, so the probe itself does not run
    out of memory. Gradients are cleared and the random state is restored.

    Args:
        model: Model to train. It is moved to the GPU if there is one.
        longest: Collated batch with one row, the longest training text, and its ``labels``.
        batch_size: Rows that this device processes per optimizer update.
        state_bytes: Bytes of the optimizer's state per trained weight.

    Returns:
        Rows per forward pass, at least 1.
    """
    if torch.cuda.is_available():
        model.to(torch.cuda.current_device())
    _measure_peak(model, longest, 1)  # warm-up: one-time allocations
    one, four = _measure_peak(model, longest, 1), _measure_peak(model, longest, 4)
    per_row = max((four - one) / 3, 1)
    free = _free_bytes()
    # Not allocated yet: gradient, 4 bytes, and optimizer state of every trained weight.
    states = (4 + state_bytes) * sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    fitting = (free - states) * _USABLE / per_row
    result = max(rows for rows in range(1, batch_size + 1) if batch_size % rows == 0 and (rows == 1 or rows <= fitting))
    print(
        f"a text of {longest['input_ids'].shape[1]} tokens takes {per_row / 2**20:,.1f} MiB to train on, "
        f"{free / 2**30:,.1f} GiB are free: {result} at once",
        flush=True,
    )
    return result


def _measure_peak(model: Any, longest: Any, rows: int) -> int:
    """Return the peak memory in bytes of a forward and backward pass of ``longest`` repeated ``rows`` times."""
    device = next(model.parameters()).device
    batch = {name: value.expand(rows, *value.shape[1:]).to(device) for name, value in longest.items()}
    labels = batch.pop("labels")
    gc.collect()
    with torch.random.fork_rng():
        _reset_peak()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = model.train()(**batch).logits
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits.float(), labels))
        peak = _peak_bytes()
    model.zero_grad(set_to_none=True)
    return peak


def _free_bytes() -> int:
    """Return the bytes that are free: on the GPU, within the share that PyTorch may take of it."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        allowed = torch.cuda.get_per_process_memory_fraction() * total - torch.cuda.memory_reserved()
        return int(min(free, allowed))
    lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return
    # Freed memory that the allocator keeps would be reused without raising the peak. malloc_trim(3) returns it to the
    # system; musl does not have it.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    # Linux: writing 5 resets the peak resident set size (proc(5), /proc/pid/clear_refs).
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
