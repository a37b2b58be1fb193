"""Reads files of `torch.save` without running what they hold: a whitelist of names, and nothing of torch's own loader.

A pickle is a program: it names functions and calls them. Here the names that a saved module needs stand for plain
containers and for functions of this file, and every other name is refused before anything is called.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

_MAGIC = 0x1950A86A20F9469CFC6C  # first object of torch's format before 1.6
_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "BoolStorage": torch.bool, "ByteStorage": torch.uint8,
}  # fmt: skip
_LAYERS = {
    "torch.nn.modules.conv": ("Conv2d",), "torch.nn.modules.batchnorm": ("BatchNorm2d",),
    "torch.nn.modules.activation": ("ReLU",), "torch.nn.modules.container": ("Sequential", "ParameterDict"),
}  # fmt: skip


class Container:
    """What stands for a module: the attributes that it was saved with, and no behaviour."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a module's state is not a table")
        self.__dict__.update(state)

    def tensors(self, prefix: str = "", depth: int = 4) -> dict[str, Tensor]:
        """Parameters and buffers by name, of itself and its children. Raises ValueError where it is no module."""
        own = {**self._table("_parameters"), **self._table("_buffers")}
        found = {f"{prefix}{name}": value for name, value in own.items() if isinstance(value, Tensor)}
        for name, child in self._table("_modules").items():
            if not isinstance(child, Container) or depth == 0:
                raise ValueError(f"{prefix}{name} is no module of at most four levels")
            found |= child.tensors(f"{prefix}{name}.", depth - 1)
        return found

    def _table(self, name: str) -> Mapping[str, Any]:
        table = self.__dict__.get(name, {})
        if not isinstance(table, Mapping) or not all(isinstance(key, str) for key in table):
            raise ValueError(f"{name} is no table of names")
        return table


class _Call:
    """A function that a file may call, and cannot change: pickles can set attributes of what they name."""

    __slots__ = ("function",)

    def __init__(self, function: Callable):
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it sets attributes of a function")


def read_saved(path: str | Path, module: str) -> Any:
    """The object of a file of `torch.save`, its modules as `Container`.

    Args:
        module: name of the one class, beside torch's layers, that the file may hold.

    Raises:
        ValueError: no such file, no file of `torch.save`, damaged, or one that names anything else; what is told.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"Import STAGE: no file {path}.")
    try:
        with path.open("rb") as file:
            return _zipped(file, module) if zipfile.is_zipfile(file) else _legacy(file, module)
    except Exception as error:  # a hostile file may fail in any way, and all of them mean the same
        raise ValueError(
            f"Import STAGE: {path.name} is refused ({error or type(error).__name__}); give a file as STAGE's release "
            "wrote it, with torch.save."
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, module: str, storage: Callable[[str, torch.dtype, int], Tensor]):
        super().__init__(file, encoding="utf-8")
        self.module, self.storage = module, storage

    def find_class(self, module: str, name: str) -> Any:
        if name == self.module or name in _LAYERS.get(module, ()):
            return Container
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) in _CALLS:
            return _CALLS[module, name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, saved: Any) -> Any:
        if isinstance(saved, tuple) and len(saved) == 4 and saved[:2] == ("module", Container):
            return Container  # before 1.6 torch wrote a class's source text beside its name
        if not isinstance(saved, tuple) or len(saved) < 5 or saved[0] != "storage":
            raise pickle.UnpicklingError("it points to something that is no storage")
        _, dtype, key, _, numel = saved[:5]
        if not (isinstance(dtype, torch.dtype) and isinstance(key, str) and isinstance(numel, int) and numel >= 0):
            raise pickle.UnpicklingError("a storage is not described as torch does")
        return self.storage(key, dtype, numel)


def _zipped(file: BinaryIO, module: str) -> Any:
    """The format since torch 1.6: a pickle and one member per storage."""
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("an archive without data.pkl")
        root = pickles[0][: -len("data.pkl")]
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise pickle.UnpicklingError("a compressed archive, which torch does not write")
        order = f"{root}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise pickle.UnpicklingError("saved on a machine of another byte order")
        storages: dict[str, Tensor] = {}

        def storage(key: str, dtype: torch.dtype, numel: int) -> Tensor:
            if key not in storages:
                storages[key] = _values(archive.read(f"{root}data/{key}"), dtype, numel)
            return storages[key]

        with archive.open(pickles[0]) as data:
            return _Unpickler(data, module, storage).load()


def _legacy(file: BinaryIO, module: str) -> Any:
    """The format before torch 1.6: five pickles in a row, then the storages' bytes."""
    storages: dict[str, Tensor] = {}

    def storage(key: str, dtype: torch.dtype, numel: int) -> Tensor:
        if numel > size // dtype.itemsize:
            raise pickle.UnpicklingError(f"storage {key} is larger than the file")
        if key not in storages:
            storages[key] = torch.zeros(numel, dtype=dtype)
        return storages[key]

    size = file.seek(0, 2)
    file.seek(0)
    magic, _, about, found, keys = (_Unpickler(file, module, storage).load() for _ in range(5))
    if magic != _MAGIC or not about.get("little_endian", True) or set(keys) != set(storages):
        raise pickle.UnpicklingError("not written by torch.save")
    for key in keys:
        values = storages[key]
        (numel,) = struct.unpack("<q", file.read(8))
        values.copy_(_values(file.read(values.numel() * values.itemsize), values.dtype, numel))
    return found


def _values(data: bytes, dtype: torch.dtype, numel: int) -> Tensor:
    if len(data) != numel * dtype.itemsize:
        raise pickle.UnpicklingError(f"a storage of {len(data)} bytes for {numel} values of {dtype}")
    return torch.frombuffer(bytearray(data), dtype=dtype) if numel else torch.zeros(0, dtype=dtype)


def _tensor(values: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """A view of a storage; `as_strided` refuses what lies beyond its end, and backward steps."""
    if not isinstance(values, Tensor) or prod(size) > values.numel():
        raise pickle.UnpicklingError("a tensor without a storage, or one larger than its storage")
    return values.as_strided(tuple(size), tuple(stride), offset)


def _parameter(values: Any, *_: Any) -> Tensor:
    if not isinstance(values, Tensor):
        raise pickle.UnpicklingError("a parameter without a tensor")
    return values


_CALLS: dict[tuple[str, str], Callable] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch._utils", "_rebuild_tensor"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
}
