"""SegFormer-B0, the network of the papers' main tables, from transformers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import Refused, reason
from .extras import importing
from .small_unet import FIRST_LOGIT, pad_to_multiple

ENCODER = "nvidia/mit-b0"  # trained on ImageNet, on the hub of Hugging Face
_STRIDE = 32  # the coarsest of the four stages


class SegFormer(nn.Module):
    """[B, 3, H, W] in 0 .. 1, any size -> logits [B, 1, H, W]; 3.7 M parameters.

    Args:
        weights: of the encoder: "pretrained" or "random". The decoder always begins at random.

    Raises:
        Refused: transformers is not installed, or the pretrained weights are neither cached nor can be downloaded.
    """

    def __init__(self, weights: str = "pretrained") -> None:
        super().__init__()
        with importing("segformer", "transformers"):
            from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerModel
        # The configuration's own defaults are B0.
        self.body = SegformerForSemanticSegmentation(SegformerConfig(num_labels=1))
        if weights == "pretrained":
            try:
                self.body.segformer = SegformerModel.from_pretrained(ENCODER)
            except Exception as error:  # the hub's client fails in many ways of its own
                raise Refused(
                    "segformer",
                    f"the pretrained weights {ENCODER} cannot be downloaded ({reason(error)})",
                    remedy="connect to the hub once, choose unet, or set weights to random",
                ) from error
        nn.init.constant_(self.body.decode_head.classifier.bias, FIRST_LOGIT)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        # Close to ImageNet's mean and deviation, with which mit-b0 was trained, and the same for every channel.
        padded = pad_to_multiple((image - 0.5) / 0.25, _STRIDE)
        logits = self.body(pixel_values=padded).logits  # at a quarter of the size
        logits = F.interpolate(logits, padded.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]
