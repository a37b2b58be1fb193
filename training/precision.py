"""Mixed precision: float32 weights, and products in half precision where it pays."""

from __future__ import annotations

import torch


def mixed(precision: str, device: torch.device | str) -> torch.autocast:
    """The context to compute a loss in. `auto` is bf16 on a GPU and fp32 on a CPU, where `bf16` pays only on
    processors that multiply it natively."""
    kind = torch.device(device).type
    bf16 = precision == "bf16" or (precision == "auto" and kind == "cuda")
    return torch.autocast(kind, torch.bfloat16, enabled=bf16)
