"""What a training step keeps in memory for its gradients, before the first step is taken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from .checkpointing import checkpointed
from .fast import FastTraining, new_modules, step_loss
from .frozen import Frozen, Latents

_log = logging.getLogger(__name__)
PROBE = 32  # side of the latents that are tried
TIGHT, TOO_MUCH = 0.8, 1.5  # of the free memory: where the blocks are computed again, and where it cannot work


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
    base: Frozen, latents: Latents, settings: FastTraining, free: int | None, device: torch.device | str
) -> StepMemory:
    """What a step will keep, from one try on a small latent: it grows with the batch and the area.

    Args:
        free: bytes that the device has for a step; None where that is not known.

    Raises:
        ValueError: a step needs far more than `free`.
    """
    wanted, found = settings.checkpointing == "on", {}
    for blocks in (False, True) if settings.checkpointing == "auto" else (wanted,):
        found[blocks] = _estimate(base, latents, settings, blocks, device)
    choice = wanted if len(found) == 1 else free is not None and found[False] > TIGHT * free
    told = f"a step of {settings.batch} keeps about {_gigabytes(found[choice])} for its gradients"
    if free is not None and found[choice] > TOO_MUCH * free:
        raise ValueError(
            f"Train FAST Adapter: {told}, and {_gigabytes(free)} are free; lower batch or resolution"
            f"{'' if choice else ', switch checkpointing on'}, or train on a smaller model."
        )
    _log.info("Train FAST Adapter: %s%s", told, ", with checkpointing" if choice else "")
    return StepMemory(found[choice], choice)


def _estimate(base: Frozen, latents: Latents, settings: FastTraining, blocks: bool, device) -> int:
    small = Latents(latents.x0[:1, :, :PROBE, :PROBE], latents.mask[:1, :, :PROBE, :PROBE], latents.row[:1])
    types = int(latents.row.max()) + 1
    with torch.random.fork_rng(devices=[]):
        modules = new_modules(base, [("", str(row)) for row in range(types)], settings).to(device).train()
    loss, generator = step_loss(base, modules, small, replace(settings, batch=1), device), torch.Generator()
    weights = [*base.network.parameters(), *modules.parameters()]
    with checkpointed(base.network) if blocks else nullcontext():
        kept = kept_for_gradients(lambda: loss(0, generator), weights)
    return round(kept * settings.batch * latents.x0[0, 0].numel() / small.x0[0, 0].numel())


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
