"""Safetensors files whose bytes depend on their content alone, so that equal runs write equal files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import Refused, reason
from ..files.durable import sync_folder


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a .safetensors file, whole or not at all, and on the disk when this returns.

    Raises OSError that names `path` where it cannot be written.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
            file.write(_tensor_bytes(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot write ({error.strerror})", str(path)) from error


AGAIN = "train or fetch it again"


def unreadable(error: Exception) -> str:
    """What is wrong with a file that safetensors cannot open."""
    return f"no readable safetensors file ({reason(error)}), and pickles are never opened"


def non_finite_reason(name: str) -> str:
    """What is wrong with a file whose tensor of that name is not finite."""
    return f"it holds NaN or infinity in {name}: its training failed, or the file is damaged"


def check_version(path: Path, metadata: Mapping[str, str], version: int) -> None:
    """Raise Refused where a file's metadata names another version of its format, or what is no number."""
    text = metadata.get("version", "")
    if not (text.isascii() and text.isdecimal()):
        raise Refused(path, f"its version is {text[:40]!r}, which is no number", remedy=AGAIN)
    if text != str(version):
        remedy = "update the pack" if len(text) > 9 or int(text) > version else AGAIN
        raise Refused(path, f"it is version {text[:40]}", f"version {version}", remedy)


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with NaN or infinity in it; None where all are finite."""
    return next((name for name, value in tensors.items() if not torch.isfinite(_measured(value)).all()), None)


def _measured(value: Tensor) -> Tensor:
    """As a type that torch can look at: floats of 8 bits it only stores."""
    return value.float() if value.is_floating_point() and value.dtype.itemsize == 1 else value


def check_shapes(make: Callable[[], nn.Module], tensors: Mapping[str, Tensor], sizes: Mapping[str, Any]) -> None:
    """Raise Refused where the weights are not those of the module that `make` makes, before room is made for it: its
    sizes are numbers in a file. Raises whatever `make` raises, too.

    sizes: what the file describes it by; a list in it means layers, of which each has a weight at least.
    """
    for name, value in sizes.items():
        if isinstance(value, list | tuple) and len(value) > len(tensors):
            raise Refused(name, f"it describes {len(value)} layers, and the file has {len(tensors)} weights")
    with torch.device("meta"):
        wanted = make().state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        found, meant = tensors.get(name), wanted.get(name)
        if found is None or meant is None or found.shape != meant.shape:
            shapes = [list(value.shape) if value is not None else "missing" for value in (found, meant)]
            raise Refused(name, f"{shapes[0]} in the file, and {shapes[1]} in what it describes")
        if found.is_floating_point() != meant.is_floating_point():
            raise Refused(name, f"{found.dtype} in the file, and {meant.dtype} in what it describes")


def _tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A .safetensors file's bytes.

    The library keeps metadata in a hash map and so writes its entries in another order at every run; they are put
    into the given order here.
    """
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, dict(metadata))
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size]) | {"__metadata__": dict(metadata)}
    text = json.dumps(header, separators=(",", ":")).encode()
    # The format wants the tensors to begin at a multiple of 8.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]
