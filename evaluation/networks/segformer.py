"""SegFormer-B0, the network of the papers' main tables, from transformers' configuration and untrained weights."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import Refused, reason
from .small_unet import FIRST_LOGIT, pad_to_multiple

_STRIDE = 32  # the coarsest of the four stages


class SegFormer(nn.Module):
    """[B, 3, H, W] in 0 .. 1, any size -> logits [B, 1, H, W]; 3.7 M parameters, nothing is downloaded.

    Raises:
        Refused: transformers is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from transformers import SegformerConfig, SegformerForSemanticSegmentation
        except ImportError as error:
            raise Refused(
                "segformer",
                f"the network needs transformers, which cannot be imported ({reason(error)})",
                remedy="run `pip install anomaly-synthesis[eval]`, or choose small_unet",
            ) from error
        # The configuration's own defaults are B0.
        self.body = SegformerForSemanticSegmentation(SegformerConfig(num_labels=1))
        nn.init.constant_(self.body.decode_head.classifier.bias, FIRST_LOGIT)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = pad_to_multiple((image - 0.5) / 0.25, _STRIDE)
        logits = self.body(pixel_values=padded).logits  # at a quarter of the size
        logits = F.interpolate(logits, padded.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]
