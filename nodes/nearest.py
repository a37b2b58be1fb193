"""Measure Real Defects and Nearest Real Defect: how near pairs are to real defects, by ComfyUI's own encoders."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import comfy.model_management
import torch
from comfy_api.latest import io
from torch import Tensor

from ..datasets.sample import Sample
from ..errors import Refused
from ..modules.tokens import Type
from ..synthesis.nearest import Encode, Features, RealDefects, embedding_features, encoded_features, sample_windows
from ..synthesis.settings import Settings
from ..synthesis.windows import Crop, Part, crop_parts
from . import sockets
from .compose import Score
from .errors import answer
from .images import check_image, check_masks, lines, to_picture, with_masks
from .latents import check_axes, reflected
from .progress import progress
from .sockets import CATEGORY, widget
from .split_dataset import Dataset

_log = logging.getLogger(__name__)
SPREAD_OF = 64  # real defects that the spread of a VAE's latents is read from
OPEN = object()  # no input's value


class MeasureRealDefects(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_MeasureRealDefects",
            display_name="Measure Real Defects",
            category=f"{CATEGORY}/dataset",
            description=(
                "Measures the real defects that train, for Nearest Real Defect: each in the window that synthesis "
                "would use for its mask, through the VAE, or through a CLIP vision model."
            ),
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="From Split Defect Dataset; only its training part is read."),
                io.Vae.Input(
                    "vae",
                    tooltip="Defects are compared in its latent space: the model's, or any other for "
                    "images. Not used where clip_vision is connected.",
                ),
                io.Int.Input(
                    "resolution",
                    default=128,
                    min=32,
                    max=4096,
                    step=8,
                    tooltip="Side of the windows in pixels: Crop to Mask's. Connect Load Anomaly LDM's resolution to "
                    "both. Default 128.",
                ),
                widget(Settings, "context", more="Use the value of Crop to Mask.", max=8.0, step=0.1),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="From Load CLIP Vision: defects are compared by its image embeddings instead. Open: by the "
                    "VAE, as the command `synthesize` does.",
                ),
            ],
            outputs=[sockets.RealDefects.Output("real", display_name="real", tooltip="For Nearest Real Defect.")],
        )

    @classmethod
    def execute(cls, dataset, vae, resolution: int, context: float, clip_vision=None) -> io.NodeOutput:
        return io.NodeOutput(measured(dataset, vae, resolution, context, clip_vision))


class NearestRealDefect(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_NearestRealDefect",
            display_name="Nearest Real Defect",
            category=f"{CATEGORY}/dataset",
            description=(
                "Adds to each pair's scores its distance to the nearest real defect of its type: 1 is as near as real "
                "defects are to each other, 0 a copy. Save Pairs writes it into the manifest as nearest_real, and "
                "Preview Pair shows it."
            ),
            inputs=[
                io.Image.Input("image", tooltip="The images with their anomalies, from Compose Pair."),
                sockets.Scores.Input("scores", tooltip="From Compose Pair: those of these images."),
                sockets.RealDefects.Input("real", tooltip="From Measure Real Defects."),
                io.String.Input(
                    "object",
                    default="object",
                    multiline=True,
                    tooltip="The object, as the dataset calls it; one line for all, or one per image.",
                ),
                io.String.Input(
                    "type",
                    default="anomaly",
                    multiline=True,
                    tooltip="The defect type, as the dataset calls it; one line for all, or one per image. "
                    "Of a type that the dataset lacks the distance stays unknown.",
                ),
                sockets.Crop.Input(
                    "crop",
                    optional=True,
                    tooltip="Crop to Mask's crop, as for Compose Pair; its resolution and context must be those "
                    "of Measure Real Defects. Open: mask is needed.",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Where the anomalies are, at full size, where crop is open."
                ),
            ],
            outputs=[
                sockets.Scores.Output(
                    "measured_scores",
                    display_name="scores",
                    tooltip="The same scores with nearest_real, for Preview Pair and Save Pairs.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, real=None, crop=OPEN, mask=OPEN):  # real: ComfyUI hears none but of an input that is there
        return answer(cls, _check_masked, crop is not OPEN or mask is not OPEN)

    @classmethod
    def execute(cls, image, scores, real, object: str, type: str, crop=None, mask=None) -> io.NodeOutput:
        if mask is not None:
            image, _ = with_masks(image, mask)
        kinds = [lines(text, len(image), name) for text, name in ((object, "object"), (type, "type"))]
        return io.NodeOutput(with_nearest(image, scores, real, list(zip(*kinds, strict=True)), crop, mask))


@dataclass(frozen=True)
class Measured:
    """Real defects, and the windows that they were measured in; see `synthesis.windows.crop_parts`."""

    real: RealDefects
    resolution: int
    context: float


def measured(dataset: Dataset, vae, resolution: int, context: float, clip_vision=None) -> Measured:
    """The defects of the dataset's training part.

    Raises:
        Refused: no defect in it, an image that cannot be read, a VAE whose latents have no two dimensions, an
            encoder without embeddings of images, NaN from either.
    """
    samples = [sample for sample in dataset.train if sample.mask is not None]
    if not samples:
        raise Refused(
            "dataset",
            f"none of the {len(dataset.train)} images that train has a defect",
            remedy="choose a larger share or other types in Split Defect Dataset",
        )
    features = (
        _vae_features(vae, samples, resolution, context)
        if clip_vision is None
        else embedding_features(partial(_embedded, clip_vision))
    )
    real = RealDefects.measured(
        samples, _interruptible(features), resolution, context, dataset.split.groups, progress()
    )
    return Measured(real, resolution, context)


def with_nearest(
    image: Tensor,
    scores: Sequence[Score],
    measured: Measured,
    kinds: Sequence[Type],
    crop: Crop | None,
    mask: Tensor | None,
) -> list[Score]:
    """The scores with `nearest_real`, None where the type's real defects have no distance, with a notice in the log.

    Args:
        image: [B, H, W, C]; kinds: (object, type) of each.
        crop, mask: one of them; see `compose.composed`.

    Raises:
        Refused: counts or sizes that do not fit together, values not finite, an empty mask, neither crop nor mask, a
            crop of other images, or one whose windows are not those of the real defects.
    """
    image = check_image(image)
    if len(scores) != len(image):
        raise Refused(
            "scores",
            f"{len(scores)} scores for {len(image)} images",
            remedy="connect the same Compose Pair",
        )
    parts = _parts(image, measured, crop, mask)
    for reason in dict.fromkeys(filter(None, map(measured.real.unknown, kinds))):
        _log.warning("Nearest Real Defect: nearest_real stays unknown: of real defects, %s.", reason)
    distances = measured.real.of_pairs(kinds, [to_picture(one) for one in image], parts)
    return [replace(score, nearest_real=near) for score, near in zip(scores, distances, strict=True)]


def _check_masked(connected: bool) -> None:
    if not connected:
        raise Refused("crop and mask", "both are open", remedy="connect Crop to Mask's crop, or the mask of the images")


def _parts(image: Tensor, measured: Measured, crop: Crop | None, mask: Tensor | None) -> list[list[Part]]:
    """Of every image the parts of its mask, in windows as those of the real defects."""
    _check_masked(crop is not None or mask is not None)
    masks = None if mask is None else check_masks(mask, image)
    if crop is None:
        return [crop_parts(item, one, measured.resolution, measured.context) for item, one in enumerate(masks)]
    if (crop.items, crop.size) != (len(image), tuple(image.shape[1:3])):
        raise Refused(
            "crop",
            f"of {crop.items} images of {crop.size[0]} x {crop.size[1]}, and {len(image)} of {image.shape[1]} x "
            f"{image.shape[2]} are connected (height x width)",
            remedy="connect the crop of these images",
        )
    if masks and not all(torch.equal(crop.mask(item), one) for item, one in enumerate(masks)):
        raise Refused("mask", "not the one that Crop to Mask cut by", remedy="connect the same to both")
    parts = [crop_parts(i, crop.mask(i), measured.resolution, measured.context) for i in range(crop.items)]
    if _windows(crop.parts) != _windows(part for own in parts for part in own):
        raise Refused(
            "crop",
            f"its windows are not those of a resolution of {measured.resolution} and a context of "
            f"{measured.context:g}, in which the real defects were measured",
            remedy="give Crop to Mask and Measure Real Defects the same",
        )
    return parts


def _windows(parts: Iterable[Part]) -> list[tuple]:
    return [(part.item, part.window) for part in parts]


def _interruptible(features: Features) -> Features:
    def checked(crops: Tensor, masks: Tensor) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        return features(crops, masks)

    return checked


def _vae_features(vae, samples: Sequence[Sample], resolution: int, context: float) -> Features:
    """Through any VAE for images. A compact base's knows the mean and spread of its latents, as the command line does;
    another's spread is read from the real defects' own windows, since only its model knows it."""
    encode = partial(_encoded, vae)
    known = getattr(vae, "anomaly_latents", None)
    mean, spread = known or (0, _spread(encode, samples, resolution, context))
    return encoded_features(lambda crops: (encode(crops) - mean) / spread, vae.spacial_compression_encode())


def _encoded(vae, crops: Tensor) -> Tensor:
    """Latents [B, C, h, w] of crops [B, 3, R, R], continued to what the VAE can take; float32 on the CPU."""
    bottom, right = (-length % vae.spacial_compression_encode() for length in crops.shape[2:])
    latents = vae.encode(reflected(crops.movedim(1, -1), bottom, right))
    check_axes(latents)
    if not torch.isfinite(latents).all():
        raise Refused("vae", "it gave NaN or infinity", remedy="try it in 32 bit (--fp32-vae)")
    return latents.float().cpu()


def _spread(encode: Encode, samples: Sequence[Sample], resolution: int, context: float) -> Tensor:
    """Standard deviation of every latent channel over at most 64 real defects' windows, [1, C, 1, 1]."""
    latents = []
    for sample in samples[:: -(-len(samples) // SPREAD_OF)]:
        comfy.model_management.throw_exception_if_processing_interrupted()
        crop, _ = sample_windows(sample, resolution, context)[0]
        latents.append(encode(crop[None])[0].flatten(1))
    spread = torch.cat(latents, 1).std(1, correction=0)
    return spread.clamp_min(max(1e-3 * spread.mean().item(), 1e-12))[None, :, None, None]


def _embedded(clip_vision, images: Tensor) -> Tensor:
    """Image embeddings [B, F] of images [B, 3, n, n]."""
    found = clip_vision.encode_image(images.movedim(1, -1)).image_embeds
    if found is None or found.ndim != 2:
        raise Refused(
            "clip_vision",
            "it gives no image embeddings",
            remedy="load a CLIP vision, SigLIP or DINOv2 model",
        )
    if not torch.isfinite(found).all():
        raise Refused("clip_vision", "it gave NaN or infinity", remedy="try it in 32 bit (--fp32-text-enc)")
    return found


NODES = [MeasureRealDefects, NearestRealDefect]
