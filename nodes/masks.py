"""Crop to Mask, Stitch, Defect Latent: cut windows around defects, put them back, and pool masks to latent size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from comfy_api.latest import io
from torch import Tensor

from ..errors import Refused
from ..images.masks import latent_mask
from ..images.windows import cut_image
from ..synthesis.settings import Settings
from ..synthesis.windows import Crop, check_windows, crop_parts, stitch
from . import sockets
from .images import check_image, to_batch, with_masks
from .latents import PARTS, PLACE, check_axes, reflected
from .provenance import list_place
from .sockets import CATEGORY, widget

MAX_CROPS = 256


class CropToMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_CropToMask",
            display_name="Crop to Mask",
            category=f"{CATEGORY}/masks",
            description=(
                "Cuts a square window around every defect of the mask, at native scale, or reduced where the defect "
                "and its context are larger than the window. A mask of several far pieces gives several crops. The "
                "model then works on the windows only: a 10-pixel defect on a large image costs little and stays sharp."
            ),
            inputs=[
                io.Image.Input("image", tooltip="Normal images, any size; one size per batch."),
                io.Mask.Input("mask", tooltip="Where the defects go: values above 0.5. One per image, or one for all."),
                io.Int.Input(
                    "resolution",
                    default=128,
                    min=32,
                    max=4096,
                    step=8,
                    tooltip="Side of the windows in pixels: the size that the model was trained at, 128 for the "
                    "bundled base, 512 for SD 1.5, 1024 for SDXL and Flux. Connect Load Anomaly LDM's resolution.",
                ),
                widget(
                    Settings,
                    "context",
                    more="At least 16 px are shown, also at 0; more makes large defects smaller in their window.",
                    max=8.0,
                    step=0.1,
                ),
            ],
            outputs=[
                io.Image.Output("crops", display_name="crops", tooltip="The windows, one batch over all images."),
                io.Mask.Output("crop_masks", display_name="masks", tooltip="The defect in each window, 0 or 1."),
                sockets.Crop.Output(
                    "crop",
                    display_name="crop",
                    tooltip="Which window is which: for Defect Latent, Anomaly Conditioning, Compose Pair and Stitch.",
                ),
            ],
        )

    @classmethod
    def execute(cls, image, mask, resolution: int, context: float) -> io.NodeOutput:
        image, masks = with_masks(image, mask)
        parts = tuple(part for i, one in enumerate(masks) for part in crop_parts(i, one, resolution, context))
        if len(parts) > MAX_CROPS:
            raise Refused(
                "mask",
                f"{len(parts)} far pieces in all masks, each a crop",
                f"at most {MAX_CROPS}",
                "remove specks from the mask, queue fewer images, or raise context or resolution",
            )
        planes = image.permute(0, 3, 1, 2).cpu()
        crops = [cut_image(planes[part.item], part.window).permute(1, 2, 0) for part in parts]
        crop_masks = [part.shown().float() for part in parts]
        crop = Crop(parts, tuple(image.shape[1:3]), len(masks))
        return io.NodeOutput(to_batch(crops), to_batch(crop_masks), crop)


class Stitch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_Stitch",
            display_name="Stitch",
            category=f"{CATEGORY}/masks",
            description=(
                "Puts crops back where Crop to Mask took them, whole windows, seams and all. For looking at what the "
                "model made, and for other nodes between; training pairs come from Compose Pair, which changes nothing "
                "outside the mask."
            ),
            inputs=[
                io.Image.Input("image", tooltip="The images that were cropped."),
                io.Image.Input("crops", tooltip="The windows, changed: as many as Crop to Mask gave."),
                sockets.Crop.Input("crop", tooltip="From the Crop to Mask that made the windows."),
            ],
            outputs=[io.Image.Output("stitched", display_name="image", tooltip="The images with the windows in them.")],
        )

    @classmethod
    def execute(cls, image, crops, crop) -> io.NodeOutput:
        image = check_image(image)
        if len(image) == 1:  # Crop to Mask took one image for all masks, too
            image = image.expand(crop.items, -1, -1, -1)
        crops = check_image(crops, "crops")
        planes = stitch(image.permute(0, 3, 1, 2).cpu(), crops.permute(0, 3, 1, 2).cpu(), crop)
        return io.NodeOutput(to_batch([one.permute(1, 2, 0) for one in planes]))


class DefectLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_DefectLatent",
            display_name="Defect Latent",
            category=f"{CATEGORY}/masks",
            description=(
                "The normal image's latent with the mask on it. The mask is max-pooled to the latent's size, so that a "
                "defect of one pixel stays; ComfyUI would resize it bilinearly and lose most small ones. Sizes that "
                "the VAE cannot take are padded, not cropped, and Compose Pair cuts the padding off again."
            ),
            inputs=[
                io.Image.Input("image", tooltip="Normal images, or the crops from Crop to Mask."),
                io.Mask.Input("mask", tooltip="Where the defects go, of the image's size: values above 0.5."),
                io.Vae.Input("vae", tooltip="The model's VAE: Load Anomaly LDM's, or any other."),
                sockets.Crop.Input(
                    "crop",
                    optional=True,
                    tooltip="Connect Crop to Mask's crop with its crops: every piece of a mask then draws noise of its "
                    "own. Leave open without cropping.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    "latent",
                    display_name="latent",
                    tooltip="Latent of the normal image with a noise_mask of latent size, for any sampler.",
                )
            ],
        )

    @classmethod
    def execute(cls, image, mask, vae, crop=None) -> io.NodeOutput:
        return io.NodeOutput(defect_latent(*with_masks(image, mask), vae, crop))


def defect_latent(image: Tensor, masks: Sequence[Tensor], vae, crop: Crop | None = None) -> dict:
    """The LATENT of images [B, H, W, 3] with their masks, bool [H, W] each, padded to what the VAE can take.

    Raises:
        Refused: a crop of another number of images, a VAE whose latents have no two dimensions, NaN.
    """
    if crop is not None:
        check_windows(image.movedim(-1, 1), crop)
    ratio = vae.spacial_compression_encode()
    height, width = image.shape[1:3]
    bottom, right = -height % ratio, -width % ratio
    samples = vae.encode(reflected(image, bottom, right))
    check_axes(samples)
    if not torch.isfinite(samples).all():
        raise Refused("vae", "it gave NaN or infinity", remedy="try it in 32 bit (--fp32-vae)")
    padded = F.pad(torch.stack(list(masks)).float(), (0, right, 0, bottom))
    latent = {"samples": samples, "noise_mask": latent_mask(padded, samples.shape[2:]).to(samples.device)}
    if crop is not None:
        latent[PARTS] = [(part.item, part.number) for part in crop.parts]
    if list_place():
        latent[PLACE] = list_place()
    return latent


NODES = [CropToMask, Stitch, DefectLatent]
