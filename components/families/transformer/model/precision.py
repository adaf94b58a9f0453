"""What a device computes in."""

import torch


def resolve(precision: str) -> str:
    """``fp32``, ``bf16`` or ``fp16``: the recipe's where the hardware computes in it, else the best it has.

    Where it is emulated, as bf16 on a CPU without its instructions, it is two to three times slower than fp32.
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
    """The dtype of a frozen base's weights."""
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[resolve(precision)]
