"""Gradients through a frozen network that keep a block's input alone and run the block again when they pass it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

_LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The outermost modules of a network that compute: what its lists hold, and the parts beside them.

    As ComfyUI's own training finds them: the residual and attention blocks of a UNet, the blocks of a transformer.
    """
    parts = list(network.children())
    while len(parts) == 1 and not isinstance(parts[0], _LISTS):  # a network in a wrapper
        parts = list(parts[0].children())
    found: list[nn.Module] = []
    for part in parts:
        found += blocks_of_list(part) if isinstance(part, _LISTS) else [part]
    return found


def blocks_of_list(part: nn.Module) -> list[nn.Module]:
    """The modules of a list, and of the lists in it."""
    return [
        block
        for child in part.children()
        for block in (blocks_of_list(child) if isinstance(child, _LISTS) else [child])
    ]


@contextmanager
def checkpointed(network: nn.Module) -> Iterator[None]:
    """Inside, what the blocks of `network` compute is not kept for the gradient; the results stay the same."""
    # A single layer keeps little more than its input anyway; a block whose forward is patched stays as it is.
    blocks = [one for one in blocks_of(network) if any(True for _ in one.children()) and "forward" not in vars(one)]
    for block in blocks:
        # Frozen networks draw nothing at random, so there is no generator to put back.
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
