"""The pixels' part of a PNG file, so that a picture that came as one need not be compressed again."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import Refused

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = {(8, 0), (8, 2), (8, 4), (8, 6), (16, 0)}  # (bit depth, colour type): what `Picture` holds without a change


def bare_png(data: bytes, path: str | Path) -> bytes | None:
    """A PNG's header, compressed pixels and end, as they are, without comments, colour profile and the like.

    None for what is no PNG, and for one that a picture of its pixels would not be written as: a palette, other depths,
    transparency by colour, an animation.
    Raises Refused where the file is cut or a check sum is wrong; image readers pass over those of the pixels. path:
    only what errors call it.
    """
    if not data.startswith(_SIGNATURE):
        return None
    chunks = list(_chunks(data, path))
    kinds, header = [kind for kind, _ in chunks], chunks[0][1]
    if kinds[0] != b"IHDR":
        return None
    pixels = [whole for kind, whole in chunks if kind == b"IDAT"]
    in_a_row = b"IDAT" * len(pixels) in b"".join(kinds)  # else readers do not agree on what belongs to the image
    if (header[16], header[17]) not in _KEPT or {b"tRNS", b"acTL"} & set(kinds) or not in_a_row:
        return None
    return b"".join([_SIGNATURE, header, *pixels, chunks[-1][1]])


def _chunks(data: bytes, path: str | Path) -> Iterator[tuple[bytes, bytes]]:
    """(kind, whole chunk) up to the end's. Raises Refused."""
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")  # length, kind, content, check sum
        kind, whole = data[at + 4 : at + 8], data[at:end]
        if end > len(data) or zlib.crc32(whole[4:-4]) != int.from_bytes(whole[-4:], "big"):
            raise Refused(path, f"damaged at byte {at} of {len(data)}", remedy="get the file again")
        yield kind, whole
        at = end
