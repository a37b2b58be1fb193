"""Reads files of `torch.save` without running what they hold: a whitelist of names, and nothing of torch's own loader.

A pickle is a program: it names functions and calls them. Here the names that a saved module needs map to plain
containers and for functions of this file, and every other name is refused before anything is called.

Work and memory grow with the file alone. A table's keys are plain values: the hash of tuples in tuples takes twice the
time for every level, and a file of 261 bytes would never be read. `torch.load(weights_only=True)` hashes them (2.13).
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..errors import Refused, reason

_MOST, _ATTRIBUTES = 10_000, 200  # layers and tensors of a module, attributes of an object
_PLAIN = (str, bytes, float, type(None))  # their hash takes no longer than they are, and is kept where they are long
_MAGIC = 0x1950A86A20F9469CFC6C  # first object of torch's format before 1.6
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
}
_LAYERS = {
    "torch.nn.modules.conv": ("Conv2d",),
    "torch.nn.modules.batchnorm": ("BatchNorm2d",),
    "torch.nn.modules.activation": ("ReLU",),
    "torch.nn.modules.container": ("Sequential", "ParameterDict"),
}


class Container:
    """The stand-in for a module: the attributes that it was saved with, and no behaviour."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a module's state is not a table")
        self.__dict__.update(state)

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, of itself and its children. Raises Refused where it is no module."""
        found, visited = {}, 0
        for prefix, module in self._modules_of("", 4):
            own = {**module._table("_parameters"), **module._table("_buffers")}
            visited += 1 + len(own)
            if visited > _MOST:  # one child may stand in many places
                raise Refused("the module", f"it has more than {_MOST} layers and tensors")
            found |= {f"{prefix}{name}": value for name, value in own.items() if isinstance(value, Tensor)}
        return found

    def _modules_of(self, prefix: str, depth: int) -> Iterator[tuple[str, Container]]:
        yield prefix, self
        for name, child in self._table("_modules").items():
            if not isinstance(child, Container) or depth == 0:
                raise Refused(f"{prefix}{name}", "no module of at most four levels")
            yield from child._modules_of(f"{prefix}{name}.", depth - 1)

    def _table(self, name: str) -> Mapping[str, Any]:
        table = self.__dict__.get(name, {})
        if not isinstance(table, Mapping) or not all(isinstance(key, str) and len(key) < 256 for key in table):
            raise Refused(name, "no table of names")
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
        Refused: no such file, no file of `torch.save`, damaged, or one that names anything else; the error says what.
    """
    path = Path(path)
    if not path.is_file():
        raise Refused(path, "no such file", remedy="give a file of STAGE's release")
    try:
        with path.open("rb") as file:
            return _zipped(file, module) if zipfile.is_zipfile(file) else _legacy(file, module)
    except Exception as error:  # a hostile file may fail in any way, and all of them mean the same
        raise Refused(
            path, f"not read ({reason(error)})", remedy="give a file of torch.save, as STAGE's release wrote it"
        ) from error


class _Bytes:
    """A stream that gives no more than it has: a pickle claims lengths, and room would be made for them."""

    def __init__(self, file: BinaryIO, size: int):
        self.file, self.size = file, size

    def read(self, count: int) -> bytes:
        if count > self.size:
            raise pickle.UnpicklingError("Ran out of input")
        return self.file.read(count)

    def readline(self) -> bytes:
        return self.file.readline()


# The one in C cannot be overridden where it fills tables, and makes room for the numbers that a file gives its values.
class _Unpickler(pickle._Unpickler):
    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: _Bytes, module: str, storage: Callable[[str, torch.dtype, int], Tensor]):
        super().__init__(file, encoding="utf-8")
        self.module, self.storage = module, storage

    def load(self) -> Any:
        try:
            return super().load()
        except EOFError as error:
            raise pickle.UnpicklingError("Ran out of input") from error

    def load_setitem(self) -> None:
        _plain(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        _plain(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        _plain(self.stack[::2])
        super().load_dict()

    def load_build(self) -> None:
        if isinstance(self.stack[-2], Tensor):
            raise pickle.UnpicklingError("it sets attributes of a tensor")
        states = self.stack[-1] if isinstance(self.stack[-1], tuple) else (self.stack[-1],)
        if len(states) > 2 or any(isinstance(state, dict) and len(state) > _ATTRIBUTES for state in states):
            raise pickle.UnpicklingError(f"it sets more than {_ATTRIBUTES} attributes of one object")
        super().load_build()

    def refuse(self) -> None:
        raise pickle.UnpicklingError("it holds what torch does not write")

    for code, function in (
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.DICT, load_dict),
        (pickle.BUILD, load_build),
        (pickle.EMPTY_SET, refuse),
        (pickle.ADDITEMS, refuse),
        (pickle.FROZENSET, refuse),
        (pickle.BYTEARRAY8, refuse),
    ):
        dispatch[code[0]] = function
    del code, function

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
        size = file.seek(0, 2)

        def storage(key: str, dtype: torch.dtype, numel: int) -> Tensor:
            nonlocal size
            if key not in storages:
                size -= archive.getinfo(f"{root}data/{key}").file_size  # members may overlap
                if size < 0:
                    raise pickle.UnpicklingError("its storages are larger than the file")
                storages[key] = _values(archive.read(f"{root}data/{key}"), dtype, numel)
            return storages[key]

        with archive.open(pickles[0]) as data:
            return _Unpickler(_Bytes(data, size), module, storage).load()


def _legacy(file: BinaryIO, module: str) -> Any:
    """The format before torch 1.6: five pickles in a row, then the storages' bytes."""
    storages: dict[str, Tensor] = {}

    def storage(key: str, dtype: torch.dtype, numel: int) -> Tensor:
        nonlocal left
        if key not in storages:
            left -= numel * dtype.itemsize
            if left < 0:
                raise pickle.UnpicklingError(f"storage {key} is larger than the file")
            storages[key] = torch.zeros(numel, dtype=dtype)
        return storages[key]

    left = size = file.seek(0, 2)
    file.seek(0)
    magic, _, about, found, keys = (_Unpickler(_Bytes(file, size), module, storage).load() for _ in range(5))
    known = isinstance(about, dict) and isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if magic != _MAGIC or not known or not about.get("little_endian", True) or set(keys) != set(storages):
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


def _tensor(values: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *others: Any) -> Tensor:
    """A view of a storage; `as_strided` refuses what lies beyond its end, and backward steps."""
    lengths = [offset, *size, *stride] if isinstance(size, tuple) and isinstance(stride, tuple) else []
    if not 0 < len(lengths) + len(others) <= 20 or not all(isinstance(n, int) and abs(n) < 2**63 for n in lengths):
        raise pickle.UnpicklingError("a tensor is not described as torch does")
    if not isinstance(values, Tensor) or prod(size) > values.numel():
        raise pickle.UnpicklingError("a tensor without a storage, or one larger than its storage")
    return values.as_strided(tuple(size), tuple(stride), offset)


def _parameter(values: Any, gradient: Any = None, hooks: Any = None) -> Tensor:
    if not isinstance(values, Tensor):
        raise pickle.UnpicklingError("a parameter without a tensor")
    return values


def _plain(keys: Sequence[Any]) -> None:
    """Raise UnpicklingError for keys whose hash may take long."""
    whole = (isinstance(key, int) and abs(key) < 2**63 for key in keys if not isinstance(key, _PLAIN))
    if not all(whole):
        raise pickle.UnpicklingError("a table has keys that are no plain values")


class _Table(OrderedDict):
    """An empty table: torch fills it afterwards."""

    def __init__(self) -> None:
        super().__init__()


def _set(values: Sequence[Any] = ()) -> set:
    if not isinstance(values, (list, tuple)) or len(values) > _ATTRIBUTES:
        raise pickle.UnpicklingError("a set of what is no short list")
    _plain(values)
    return set(values)


_CALLS: dict[tuple[str, str], Callable] = {
    ("collections", "OrderedDict"): _Table,
    ("builtins", "set"): _Call(_set),
    ("__builtin__", "set"): _Call(_set),
    ("torch._utils", "_rebuild_tensor"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
}
