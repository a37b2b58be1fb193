"""Safetensors bytes that depend on their content alone, so that equal runs write equal files."""

from __future__ import annotations

import json
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A .safetensors file's bytes.

    The library keeps metadata in a hash map and so writes its entries in another order at every run; they are put
    into the given order here.
    """
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, dict(metadata))
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size]) | {"__metadata__": dict(metadata)}
    text = json.dumps(header, separators=(",", ":")).encode()
    # The format wants the tensors to begin at a multiple of 8.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size:]
