"""Damage to bytes, JSON, text and tables, pictures, and the names in a folder; all of it is drawn from `rng`."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

STRINGS = (
    "",
    " ",
    "\x00",
    "a\nb",
    "\x1b[31mred\x1b[0m",
    "\u202eabc",
    "\x9b2J",
    "=1+1",
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\x",
    "x" * 255,
    "ä" * 130,
    "x" * 5000,
    "good",
    "NaN",
    "1e999",
    "-1",
    "0",
    "1.5",
    "true",
    "９",
    "\ud800",
    "%s{0}",
    "1,2",
    ".",
)
NUMBERS = (
    0,
    -1,
    1,
    2,
    255,
    256,
    65536,
    2**31,
    2**63,
    2**64,
    -(2**63),
    10**19,
    10**400,
    -(10**400),
    0.5,
    -0.5,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    True,
    False,
)
NAMES = (
    "a b",
    "-x",
    "ä",
    "a\u0308",
    "x\ny",
    "\x1b[1m",
    "\u202ex",
    "NUL",
    "x" * 200,
    "'\"",
    "%d",
    "good",
    "test",
    "masks",
    "a;b",
    "=x",
    "{type}",
    "mask",
    "images",
    "labels",
    "0",
    "~",
    "#",
    os.fsdecode(b"\xff\xfe"),
)


def value(rng: random.Random) -> Any:
    """A random JSON value, mostly of an unexpected type."""
    made = rng.randrange(10)
    if made < 3:
        return rng.choice(STRINGS)
    if made < 6:
        return rng.choice(NUMBERS)
    if made == 6:
        return _nested(rng.choice((2, 50, 190, 400)), rng.random() < 0.5)
    return copy.deepcopy(rng.choice((None, [], {}, [None], {"a": 1}, [[]], [[0, 0]], [1, 2, 3, 4], [{}], {"": ""})))


def _nested(depth: int, lists: bool) -> Any:
    made: Any = 0
    for _ in range(depth):
        made = [made] if lists else {"a": made}
    return made


def mutated_json(rng: random.Random, tree: Any) -> Any:
    """The tree with one to three of its values replaced, removed, doubled or renamed."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(tree))
        if not places:
            return value(rng)
        inside, key = rng.choice(places)
        act = rng.randrange(5)
        if act == 0:
            del inside[key]
        elif act == 1 and isinstance(inside, list):
            inside.append(copy.deepcopy(inside[key]))
        elif act == 1:
            inside[rng.choice(STRINGS)] = inside[key]
        else:
            inside[key] = value(rng)
    return tree


def _places(tree: Any):
    """(object or list, key) of every value below the top."""
    stack = [tree] if isinstance(tree, dict | list) else []
    while stack:
        one = stack.pop()
        for key in list(one) if isinstance(one, dict) else range(len(one)):
            yield one, key
            if isinstance(one[key], dict | list):
                stack.append(one[key])


def json_bytes(rng: random.Random, tree: Any) -> bytes:
    """The tree as the bytes of a file, sometimes not valid JSON."""
    text = json.dumps(tree)
    act = rng.randrange(12)
    if act == 0:
        return b"[" * 50_000 + text.encode()
    if act == 1:
        return text.replace("0", "9" * 5000, 1).encode()
    if act == 2:
        return text.encode("utf-16")
    if act == 3:
        return b"\xef\xbb\xbf" + text.encode()
    return mutated_bytes(rng, text.encode()) if act == 4 else text.encode()


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """The bytes cut, flipped, doubled, overwritten or replaced."""
    act, at = rng.randrange(7), rng.randrange(len(data) + 1)
    if act == 0:
        return data[:at]
    if act == 1 and data:
        flipped = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if act == 2:
        return data[:at] + rng.randbytes(rng.randint(1, 64)) + data[at:]
    if act == 3:
        return data[:at] + data[: rng.randint(0, 400)] + data[at:]
    if act == 4 and len(data) > 8:
        size = rng.choice((1, 2, 4, 8))
        at = rng.randrange(len(data) - size)
        return data[:at] + rng.choice((b"\xff", b"\x00", b"\x7f", b"\x80")) * size + data[at + size :]
    return rng.choice((b"", b"\x00", rng.randbytes(100), b"\xff" * 50, data + data))


def mutated_text(rng: random.Random, data: bytes) -> bytes:
    """Lines and cells of a text, a table, XML or YAML, replaced."""
    text = data.decode("utf-8", "replace")
    act = rng.randrange(8)
    if act == 0:
        return text.encode(rng.choice(("utf-16", "latin-1", "cp1252")), "replace")
    if act == 1:
        return text.replace(",", rng.choice((";", "\t", ",,", " "))).encode()
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    if act == 2:
        del lines[at]
    elif act == 3:
        lines.insert(at, lines[rng.randrange(len(lines))])
    else:
        separator = next((mark for mark in (",", ">", ":", " ") if mark in lines[at]), " ")
        cells = lines[at].split(separator)
        cells[rng.randrange(len(cells))] = str(rng.choice((*STRINGS, *map(str, NUMBERS))))
        lines[at] = separator.join(cells)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def picture(rng: random.Random, mask: bool = False, mode: str | None = None, suffix: str = ".png") -> bytes:
    """A small picture, or a mask of some blobs, as a file of that suffix."""
    size = rng.choice((24, 24, 24, 32, 1))
    mode = mode or ("L" if mask else "RGB")
    draw = np.random.default_rng(rng.randrange(2**32))
    values = draw.integers(0, 256, (size, size, 3), np.uint8)
    if mask:
        values = np.zeros((size, size), np.uint8)
        values[size // 4 : size // 2, size // 4 :] = 255
    image = Image.fromarray(values)
    kind = {
        ".jpg": "JPEG",
        ".jpeg": "JPEG",
        ".jfif": "JPEG",
        ".tif": "TIFF",
        ".tiff": "TIFF",
        ".bmp": "BMP",
        ".webp": "WEBP",
        ".pgm": "PPM",
    }.get(suffix.lower(), "PNG")
    file = io.BytesIO()
    try:
        (image.point(lambda level: level * 257).convert("I;16") if mode == "I;16" else image.convert(mode)).save(
            file, kind
        )
    except (OSError, ValueError):
        file = io.BytesIO()
        image.convert("RGB").save(file, "PNG")
    return file.getvalue()


MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "I;16", "CMYK", "F")


def damage(rng: random.Random, root: Path) -> None:
    """One damage to a folder: a file's content, a name, a file that is missing, doubled, or of another kind."""
    paths = sorted(path for path in root.rglob("*") if not path.is_symlink())
    files = [path for path in paths if path.is_file()]
    if not files:
        return
    path = rng.choice(files)
    with contextlib.suppress(OSError, ValueError):
        act = rng.randrange(10)
        if act < 5:
            path.write_bytes(_damaged(rng, path))
        elif act == 5:
            rng.choice(paths).rename(path.with_name(rng.choice(NAMES) + rng.choice(("", path.suffix))))
        elif act == 6:
            path.unlink()
        elif act == 7:
            shutil.copyfile(
                path, path.with_name(rng.choice((path.stem, *NAMES)) + rng.choice((".png", ".jpg", ".json")))
            )
        elif act == 8:
            path.unlink()
            rng.choice((path.mkdir, lambda: path.symlink_to(path), lambda: path.symlink_to(root), path.touch))()
        else:
            other = rng.choice(files)
            path.write_bytes(other.read_bytes())


def _damaged(rng: random.Random, path: Path) -> bytes:
    data, suffix = path.read_bytes(), path.suffix.lower()
    if suffix in (".json", ".jsonl"):
        with contextlib.suppress(ValueError, RecursionError):
            if suffix == ".json":
                return json_bytes(rng, mutated_json(rng, json.loads(data)))
            lines = data.splitlines()
            at = rng.randrange(len(lines))
            lines[at] = json_bytes(rng, mutated_json(rng, json.loads(lines[at])))
            return b"\n".join(lines) + b"\n"
    if suffix in (".csv", ".txt", ".xml", ".yaml", ".yml"):
        return mutated_text(rng, data) if rng.random() < 0.8 else mutated_bytes(rng, data)
    if rng.random() < 0.5:
        return picture(rng, rng.random() < 0.5, rng.choice(MODES), suffix)
    return mutated_bytes(rng, data)
