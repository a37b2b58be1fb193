"""Packages that only some networks need: a refusal where they are missing, and a torchvision that can be imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...errors import Refused, reason


@contextmanager
def importing(network: str, *packages: str) -> Iterator[None]:
    """For import statements of `packages`, by their names in the package index, which `network` needs.

    Raises:
        Refused: one of them is missing or cannot be imported.
    """
    _fit_torchvision()
    try:
        yield
    except (ImportError, RuntimeError) as error:  # RuntimeError: a package built for another torch
        raise Refused(
            network,
            f"the network needs {' and '.join(packages)}, which cannot be imported ({reason(error)})",
            remedy=f"run `pip install {' '.join(packages)}` with this Python, or choose small_unet",
        ) from error


def _fit_torchvision() -> None:
    """Let torchvision be imported where its compiled operators do not fit torch.

    That is so with a CPU build of torch beside the package index's torchvision (pytorch/vision issue 9085). timm,
    segmentation-models-pytorch and transformers import torchvision, and our networks use none of its operators. The
    import fails only because it describes two that were never defined; calling one still raises torchvision's error.
    """
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError:
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float limit) -> Tensor")
