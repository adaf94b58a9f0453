"""Choice of the floating-point precision for a device."""

import torch


def resolve_precision(precision: str) -> str:
    """Return the precision to compute in on this machine: ``fp32``, ``bf16`` or ``fp16``.

    The recipe's precision is used if the hardware supports it natively, else the best that it supports. Emulated
    precisions are avoided: bf16 on a CPU without bf16 instructions is two to three times slower than fp32.

    Args:
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
    """
    if torch.cuda.is_available():
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        if precision == "fp16":
            return "fp16"
        best = "bf16" if bf16 else "fp16"
    else:
        best = "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
    return "fp32" if precision == "fp32" else best


def weights_dtype(precision: str) -> torch.dtype:
    """Return the dtype in which the weights of a frozen base model are loaded."""
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[resolve_precision(precision)]
