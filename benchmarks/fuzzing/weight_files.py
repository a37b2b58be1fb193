"""Files of weights: bases and adapters with damaged headers and tensors, and pickles for `import-stage`."""

from __future__ import annotations

import json
import pickle
import random
import struct
import zipfile
from pathlib import Path

import torch
from anomaly_synthesis.modules.adapter_file import load_adapter
from anomaly_synthesis.modules.base_file import load_base
from anomaly_synthesis.synthesis import adapters as _  # noqa: F401 - import once what reading an adapter needs

from .mutations import STRINGS, mutated_bytes, mutated_json, value

_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
_OPCODES = b"()}]{0123NIKJMXBCTUVFGRQPqrhjacsubeotld.\x80\x81\x85\x86\x87\x88\x89\x8c\x8f\x90\x91\x93\x94\x95"


class Weights:
    """A base or an adapter of the package, damaged, as the commands load it."""

    def prepare(self) -> None:
        """Keep headers and tensor bytes of the bundled files, with tensors shortened for speed where possible."""
        self._files = {path.name: path.read_bytes() for path in sorted(_WEIGHTS.glob("*.safetensors"))}

    def meet(self, rng: random.Random, folder: Path, met) -> None:
        name = rng.choice(list(self._files))
        path = folder / name
        path.write_bytes(_damaged_weights(rng, self._files[name]))
        met.call(load_base, path)
        met.call(load_adapter, path)


def _damaged_weights(rng: random.Random, data: bytes) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8 : 8 + size]), data[8 + size :]
    act = rng.randrange(6)
    if act == 0:
        return mutated_bytes(rng, data[: rng.choice((8, 100, size, len(data)))])
    if act == 1:
        return struct.pack("<Q", rng.choice((0, 1, size - 1, size + 1, 2**31, 2**63, 2**64 - 1))) + data[8:]
    if act == 2:
        name = rng.choice([name for name in header if name != "__metadata__"])
        header[name] = mutated_json(rng, header[name])
    elif act == 3:
        start = rng.randrange(max(len(tensors) - 4096, 1))
        filler = rng.choice((b"\xff", b"\x00", b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f"))
        return data[: 8 + size] + tensors[:start] + (filler * 4096)[:4096] + tensors[start + 4096 :]
    else:
        key = rng.choice(list(header["__metadata__"]))
        text = header["__metadata__"][key]
        try:
            text = json.dumps(mutated_json(rng, json.loads(text)))
        except ValueError:
            text = rng.choice(STRINGS)
        header["__metadata__"][key] = text if rng.random() < 0.8 else rng.choice((*STRINGS, value(rng)))
    packed = json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + tensors


class Pickles:
    """`import-stage` of hostile and damaged pickles, in torch's zip format and its older one."""

    def prepare(self) -> None:
        """Nothing."""

    def meet(self, rng: random.Random, folder: Path, met) -> None:
        paths = [folder / name for name in ("embeddings.pt", "fine_image.pt", "fine_mask.pt")]
        for path in paths:
            _draw_pickle(rng, path)
        met.command(
            "import-stage",
            "--embeddings",
            paths[0],
            "--fine-image",
            paths[1],
            "--fine-mask",
            paths[2],
            "--out",
            folder / "adapter.safetensors",
        )


def _draw_pickle(rng: random.Random, path: Path) -> None:
    act = rng.randrange(6)
    if act < 2:  # valid tensors, then damaged
        names = ("cable+bent", "nut+crack", "*")
        table = {
            "string_to_token": {"*": torch.tensor(1008)},
            "string_to_param": {n: torch.zeros(4, 1280) for n in names},
        }
        torch.save(rng.choice((table, table["string_to_param"])), path, _use_new_zipfile_serialization=act == 0)
        if rng.random() < 0.7:
            path.write_bytes(mutated_bytes(rng, path.read_bytes()))
        return
    program = _program(rng, act)
    if rng.random() < 0.2:
        path.write_bytes(program)
        return
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", b"\x00" * 16)


def _program(rng: random.Random, act: int) -> bytes:
    if act == 2:  # values in values, doubled at every level: small files of large hashes, comparisons and copies
        levels, program = rng.choice((30, 60, 200)), b"\x80\x02" + rng.choice((b")", b"]", b"}", b"K\x01"))
        for _ in range(levels):
            program += rng.choice((b"2\x86", b"2\x86\x85", b"q\x01h\x01h\x01\x87", b"\x85", b"2\x93"))
        return (
            program + rng.choice((b".", b"}h\x01K\x01s.", b"(lp0\n.", b"K\x01\x86}q\x02h\x02."))
            if rng.random() < 0.5
            else b"\x80\x04}" + program[2:] + b"K\x01s."
        )
    if act == 3:  # names and calls
        module = rng.choice(
            ("torch._utils", "collections", "builtins", "os", "torch", "numpy", "x", "torch.nn.parameter")
        )
        name = rng.choice(
            ("_rebuild_tensor_v2", "OrderedDict", "getattr", "system", "FloatStorage", "MGA", "Parameter")
        )
        arguments = pickle.dumps(rng.choice(((), ("x",), ({},), (1, 2, 3), ([],) * 7)), 2)[2:-1]
        return (
            b"\x80\x02c"
            + module.encode()
            + b"\n"
            + name.encode()
            + b"\n"
            + arguments
            + rng.choice((b"R.", b"\x81.", b"b."))
        )
    if act == 4:  # any opcodes
        return b"\x80\x04" + bytes(rng.choices(_OPCODES, k=rng.randint(1, 60))) + b"."
    return mutated_bytes(
        rng, pickle.dumps({"string_to_param": {"a+b": [1, 2.5, "x", None, (1, 2)]}}, rng.choice((0, 2, 4)))
    )
