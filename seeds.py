"""One place for every seed that is derived from another seed.

A run has one seed. From it, and from an index and a purpose, `derived_seed` gives the seed of everything that is drawn
once per item; it is the rule for new code. Three older rules stay, since other rules would change the bytes of pairs:
`part_seed` for the pieces of a mask, `round_seed` for the rounds of Refine Pairs, and `checksum_seed` for the pictures
of the drawn surfaces. All seeds are 0 .. 2^63 - 1.
"""

from __future__ import annotations

import hashlib
import zlib

_RANGE = 2**63
_PART_STRIDE = 0x9E3779B97F4A7C15  # golden ratio of 2^64: keeps the seeds of parts and of neighboring items apart
# 2^64 over the plastic number: no few multiples of it and of _PART_STRIDE come together.
_ROUND_STRIDE = 0xC13FA9A902A6328F
# The same noises for every pair: a search over seeds must not find one visible because its controls happened to agree.
CONTROL_SEED = 2**62 + 1


def derived_seed(seed: int, index: int, purpose: str) -> int:
    """A seed for one purpose of one item, unlike those of other items, runs and purposes."""
    digest = hashlib.blake2b(f"{seed}/{index}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def anomaly_seed(seed: int, index: int, draw: int = 0) -> int:
    """The seed of item `index` of a run; `draw` 1, 2, ... are the next attempts at the same item."""
    return derived_seed(seed, index, f"anomaly {draw}")


def part_seed(seed: int, number: int) -> int:
    """The seed of an item's part `number`; part 0 keeps the item's own seed."""
    return (seed + number * _PART_STRIDE) % _RANGE


def round_seed(seed: int, number: int) -> int:
    """The seed of round 1, 2, ... of Refine Pairs; item i of the batch has this + i, as in every node."""
    return (seed + number * _ROUND_STRIDE) % _RANGE


def checksum_seed(seed: int, *names: str | int) -> int:
    """A seed of 32 bits from names: of the pictures that `surfaces` draws."""
    return zlib.crc32("/".join(map(str, (seed, *names))).encode())
