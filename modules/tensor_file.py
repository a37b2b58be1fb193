"""Safetensors files whose bytes depend on their content alone, so that equal runs write equal files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a .safetensors file, whole or not at all. Raises OSError that names `path` where it cannot be written."""
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_bytes(_tensor_bytes(tensors, metadata))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot write ({error.strerror})", str(path)) from error


def _tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
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
