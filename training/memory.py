"""What a training step keeps in memory for its gradients: an estimate before the first step, and checkpointing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from ..errors import Refused
from .frozen import Latents
from .loop import Loss
from .settings import AdapterTraining

_log = logging.getLogger(__name__)
PROBE = 32  # side of the latents that are tried
TIGHT, TOO_MUCH = 0.8, 1.5  # of the free memory: where the blocks are computed again, and where it cannot work

Prepare = Callable[[Latents, AdapterTraining], tuple[nn.Module, Loss]]
_LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def kept_for_gradients(loss: Callable[[], Tensor], weights: Iterable[Tensor] = ()) -> int:
    """Bytes that the gradients of what `loss` computes keep; its graph is dropped at once.

    Args:
        weights: tensors that are there anyway and do not count.
    """
    known, kept = {weight.untyped_storage().data_ptr() for weight in weights}, {}

    def seen(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(seen, lambda tensor: tensor):
        value = loss()
    del value
    return sum(kept.values())


@dataclass(frozen=True)
class StepMemory:
    """bytes: about what a step keeps for its gradients; checkpointing: whether the base's blocks are run again."""

    bytes: int
    checkpointing: bool


def step_memory(
    network: nn.Module, prepare: Prepare, latents: Latents, settings: AdapterTraining, free: int | None
) -> StepMemory:
    """What a step will keep, from one try on a small latent: it grows with the batch and the area.

    Args:
        network: the frozen denoiser.
        prepare: of latents and settings, the method's modules and the loss of a step.
        free: bytes that the device has for a step; None where that is not known.

    Raises:
        Refused: a step needs far more than `free`.
    """
    kept, wanted = partial(_estimate, network, prepare, latents, settings), settings.checkpointing == "on"
    plain = kept(wanted)
    spared = plain if wanted or free is None or plain <= TIGHT * free else kept(True)
    choice = wanted or (settings.checkpointing == "auto" and spared < plain)
    found = StepMemory(spared if choice else plain, choice)
    size = f"a step of {settings.batch} keeps about {_gigabytes(found.bytes)} for its gradients"
    if free is not None and found.bytes > TOO_MUCH * free:
        hint = ", switch checkpointing on" if spared < found.bytes else ""
        raise Refused(
            "memory",
            f"{size}, and {_gigabytes(free)} are free",
            remedy=f"lower batch or resolution{hint}, or train on a smaller model",
        )
    _log.info("%s training: %s%s", settings.method, size, ", with checkpointing" if found.checkpointing else "")
    return found


def _estimate(
    network: nn.Module, prepare: Prepare, latents: Latents, settings: AdapterTraining, checkpointing: bool
) -> int:
    small = Latents(latents.x0[:1, :, :PROBE, :PROBE], latents.mask[:1, :, :PROBE, :PROBE], latents.row[:1])
    modules, loss = prepare(small, replace(settings, steps=1, batch=1))
    weights = [*network.parameters(), *modules.train().parameters()]
    with checkpointed(network) if checkpointing else nullcontext():
        kept = kept_for_gradients(lambda: loss(0, torch.Generator()), weights)
    return round(kept * settings.batch * latents.x0[0, 0].numel() / small.x0[0, 0].numel())


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


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
