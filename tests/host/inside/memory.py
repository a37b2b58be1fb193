"""Out of memory inside a node: an error with the node's name and the setting to lower."""

from __future__ import annotations

import torch

from .scenes import one, refused
from .start import call, room


class _Full:
    def spacial_compression_encode(self):
        return 4

    def encode(self, pixels):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def check_a_node_that_runs_out_of_memory_says_what_to_lower():
    image, mask = one((64, 64))
    with refused("Defect Latent: out of memory (CUDA out of memory", "lower the batch", "Crop to Mask's resolution"):
        call("DefectLatent", image=image, mask=mask, vae=_Full())


class _FullBehindARefusal(_Full):
    def encode(self, pixels):
        try:
            super().encode(pixels)
        except torch.OutOfMemoryError as error:
            raise room("errors").Refused("image", "it cannot be encoded") from error


def check_memory_that_is_used_up_behind_a_refusal_says_what_to_lower():
    image, mask = one((64, 64))
    with refused("Defect Latent: out of memory", "lower the batch"):
        call("DefectLatent", image=image, mask=mask, vae=_FullBehindARefusal())
