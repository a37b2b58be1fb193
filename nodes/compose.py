"""Compose Pair and Preview Pair: the anomaly put into the normal image, measured and shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import comfy.model_management
import numpy as np
import torch
import torch.nn.functional as F
from comfy_api.latest import io, ui
from torch import Tensor

from ..errors import Refused
from ..images.drawing import overlay
from ..images.pictures import Picture
from ..images.windows import Window
from ..synthesis.compose import DecodedPart, composed_picture, composed_values, is_changed
from ..synthesis.labels import refined_mask
from ..synthesis.scores import COMPOSED_VISIBLE_ABOVE, NOT_SCORED, Scores, scores_of
from ..synthesis.settings import Settings
from ..synthesis.windows import Crop, check_windows, whole_images, window_of
from . import sockets
from .images import check_image, check_masks, repeated, to_batch, to_image, to_picture, with_masks
from .sockets import CATEGORY, widget


class ComposePair(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_ComposePair",
            display_name="Compose Pair",
            category=f"{CATEGORY}/dataset",
            description=(
                "Puts the anomaly into the normal image: outside the mask every pixel stays exactly as it is. Measures "
                "how visible the anomaly is, so that masks which show nothing do not reach training."
            ),
            inputs=[
                io.Image.Input("normal", tooltip="The normal images, at full size."),
                io.Mask.Input("mask", tooltip="Where the defects go, of the images' size."),
                io.Image.Input("made", tooltip="What the sampler made, decoded: crops or whole images."),
                io.Image.Input(
                    "roundtrip",
                    tooltip="Defect Latent's latent, decoded: the same without the anomaly. The VAE's own blur is "
                    "measured by it and kept out of the result.",
                ),
                widget(Settings, "mode"),
                widget(Settings, "feather", max=256),
                io.Float.Input(
                    "visible_above",
                    default=COMPOSED_VISIBLE_ABOVE,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip="A pair is visible where the mean change in the mask is more than this many times the "
                    "surface's own spread around it; with controls, where it is more than this many times as far from "
                    "them as they are from each other. 1 (default) is a mild test; `synthesize` measures its "
                    "threshold.",
                ),
                sockets.Crop.Input(
                    "crop",
                    optional=True,
                    tooltip="Crop to Mask's crop, where made and roundtrip are crops. Open: whole images.",
                ),
                io.Image.Input(
                    "controls",
                    optional=True,
                    tooltip="The same latent, repeated (4 times, say) and sampled as normal surface, decoded: 6 steps "
                    "with cfg 1 and the type 'good' will do. What is visible is then measured by them, which is surer.",
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The images with their anomalies."),
                sockets.Scores.Output(
                    "scores",
                    display_name="scores",
                    tooltip="Visibility, strength, contrast, completeness, precision, boundary and seam of "
                    "each, and with controls excess and the refined mask, for Preview Pair and Save Pairs.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, normal, mask, made, roundtrip, mode: str, feather: int, visible_above: float, crop=None, controls=None
    ) -> io.NodeOutput:
        made, roundtrip = (check_image(image, name) for image, name in ((made, "made"), (roundtrip, "roundtrip")))
        normal, masks = with_masks(normal, mask, "normal")
        controls = None if controls is None else check_image(controls, "controls")
        return io.NodeOutput(*composed(normal, masks, made, roundtrip, crop, mode, feather, visible_above, controls))


class PreviewPair(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_PreviewPair",
            display_name="Preview Pair",
            category=f"{CATEGORY}/dataset",
            description="Shows normal, result, and result with the mask's outline, with the visibility in words below.",
            inputs=[
                io.Image.Input("normal", tooltip="The normal images."),
                io.Image.Input("image", tooltip="The images with their anomalies, from Compose Pair."),
                io.Mask.Input("mask", tooltip="Where the anomalies are."),
                sockets.Scores.Input("scores", optional=True, tooltip="From Compose Pair; open shows pictures only."),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, normal, image, mask, scores=None) -> io.NodeOutput:
        batch = Batch.checked(normal, image, mask, scores)
        return io.NodeOutput(ui=ui.PreviewImage(overlays(batch), cls=cls))


@dataclass(frozen=True, eq=False)
class Composing:
    """What Compose Pair was given beside a batch: its widgets, and the controls, as `composed` takes them."""

    mode: str
    feather: int
    visible_above: float
    controls: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Score(Scores):
    """What Compose Pair knows of a pair.

    visible: excess, or visibility without controls, is above the node's threshold; composing: how it was composed, None
    where not by that node; seed: it was sampled with, None where the graph has it; search: the record of Refine Pairs'
    search, for the manifest, see `synthesis.refine`; blank: no window was changed before composing, as behind a
    bypassed sampler; refined_mask: bool [H, W], see `synthesis.labels`, None without controls.
    """

    visible: bool
    windows: tuple[Window, ...]
    composing: Composing | None = None
    seed: int | None = None
    search: Mapping[str, Any] | None = None
    blank: bool = False
    refined_mask: np.ndarray | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        """JSON: what ComfyUI's nodes that show any value as text show, and what `batch` reads entries from."""
        keys = {field.name: field.name for field in fields(Score)} | {"search": "refined"}  # as in manifests
        pictures = "windows", "composing", "refined_mask"
        return json.dumps({keys[name]: getattr(self, name) for name in keys if name not in pictures})


@dataclass(frozen=True, eq=False)
class Batch:
    """Pairs that belong together: normals and images [B, H, W, 3], masks bool [H, W] each, scores or None."""

    normals: Tensor
    images: Tensor
    masks: list[Tensor]
    scores: Sequence[Score] | None

    @classmethod
    def checked(cls, normal: Tensor, image: Tensor, mask: Tensor, scores: Sequence[Score] | None) -> Batch:
        """From a node's sockets. Raises Refused where counts or sizes differ, for an empty mask, and for NaN."""
        image, normal = check_image(image), check_image(normal, "normal")
        if len(normal) == 1:
            image, _ = with_masks(image, mask)
        normal = repeated(normal, len(image), "normal")
        if normal.shape != image.shape:
            sizes = [" x ".join(map(str, t.shape[1:3])) for t in (normal, image)]
            raise Refused("normal", f"{sizes[0]}, the image {sizes[1]} (height x width)", remedy="connect one size")
        if scores is not None and len(scores) != len(image):
            raise Refused(
                "scores",
                f"{len(scores)} scores for {len(image)} images",
                remedy="connect the same Compose Pair",
            )
        return cls(normal, image, check_masks(mask, image), scores)


def composed(
    normal: Tensor,
    masks: Sequence[Tensor],
    made: Tensor,
    roundtrip: Tensor,
    crop: Crop | None,
    mode: str,
    feather: int,
    visible_above: float,
    controls: Tensor | None = None,
) -> tuple[Tensor, list[Score]]:
    """Images [B, H, W, 3] with their anomalies, every value outside the masks untouched, and their scores.

    Args:
        normal: [B, H, W, 3]; masks: bool [H, W] each.
        made, roundtrip: decoded windows with anomaly and without, [P, h, w, 3].
        crop: which window is where; None where made and roundtrip are whole images.
        controls: the windows made again as normal surface at least twice, decoded, [k P, h, w, 3]: all P of them, and
            then all again; see `synthesis.scores.excess`.

    Raises:
        Refused: counts or sizes that do not fit together, values not finite.
    """
    crop = checked_crop(normal, masks, crop)
    if made.shape != roundtrip.shape:
        raise Refused(
            "made",
            f"{list(made.shape)}, roundtrip {list(roundtrip.shape)}",
            remedy="decode both from latents of one size and batch",
        )
    composing, times = Composing(mode, feather, visible_above, controls), _times(made, controls)
    made, roundtrip, *times = (t.permute(0, 3, 1, 2).cpu().float() for t in (made, roundtrip, *times))
    check_windows(made, crop)
    images, scores = [], []
    for item, mask in enumerate(masks):
        comfy.model_management.throw_exception_if_processing_interrupted()
        picture, parts = to_picture(normal[item]), _parts(crop, item, made, roundtrip)
        own = _control_values(picture, parts, [_parts(crop, item, again, roundtrip) for again in times], mode, feather)
        result = composed_picture(picture, parts, mode, feather)
        pair = scores_of(result, picture, parts, controls=own)
        image = normal[item].cpu().clone()
        image[mask] = to_image(result)[mask].to(image)
        images.append(image)
        windows = tuple(one.part.window for one in parts)
        measured = {name: getattr(pair, name) for name in NOT_SCORED}
        counted, blank = pair.visibility if pair.excess is None else pair.excess, not any(map(is_changed, parts))
        scores.append(
            Score(
                **measured,
                visible=counted > visible_above and not blank,
                windows=windows,
                composing=composing,
                blank=blank,
                refined_mask=None if own is None else refined_mask(result, [one.part for one in parts], own),
            )
        )
    return to_batch(images), scores


def checked_crop(normal: Tensor, masks: Sequence[Tensor], crop: Crop | None) -> Crop:
    """The crop of normals [B, H, W, 3] with their masks; None is whole images. Raises Refused for one of others."""
    crop = crop or whole_images(masks)
    if crop.items != len(normal) or crop.size != tuple(normal.shape[1:3]):
        raise Refused(
            "crop",
            f"of {crop.items} images of {crop.size[0]} x {crop.size[1]}, and {len(normal)} of {normal.shape[1]} x "
            f"{normal.shape[2]} are connected (height x width)",
            remedy="connect the images that were cropped",
        )
    if not all(torch.equal(crop.mask(item), mask) for item, mask in enumerate(masks)):
        raise Refused("mask", "not the one that Crop to Mask cut by", remedy="connect the same to both")
    return crop


def _times(made: Tensor, controls: Tensor | None) -> Sequence[Tensor]:
    """The controls of a batch, one batch of windows each time that they were made."""
    if controls is None:
        return ()
    count, rest = divmod(len(controls), len(made))
    if rest or count < 2 or controls.shape[1:] != made.shape[1:]:
        raise Refused(
            "controls",
            f"{list(controls.shape)}, made {list(made.shape)}",
            "the same windows two times or more",
            "put Repeat Latent Batch between Defect Latent and their sampler",
        )
    return controls.split(len(made))


def _control_values(
    picture: Picture, parts: Sequence[DecodedPart], times: Sequence[Sequence[DecodedPart]], mode: str, feather: int
) -> list[np.ndarray] | None:
    """Of every part its mask's pixels each time that it was made again, as `scores_of` takes them; None without."""
    if not times:
        return None
    return [
        composed_values(picture, one.part, [again[place].made for again in times], one.roundtrip, mode, feather)
        for place, one in enumerate(parts)
    ]


def _parts(crop: Crop, item: int, made: Tensor, roundtrip: Tensor) -> list[DecodedPart]:
    """The parts of an item, with their windows out of decoded ones, [P, 3, h, w]."""
    return [
        DecodedPart(part, *(window_of(windows[place], part.window.resolution) for windows in (made, roundtrip)))
        for place, part in crop.of(item)
    ]


def overlays(batch: Batch) -> Tensor:
    """Every pair as one picture to check it by, [B, h, w, 3]; see `images.drawing`."""
    sheets = [
        overlay(batch.normals[item].cpu(), batch.images[item].cpu(), mask, _label(batch.scores, item))
        for item, mask in enumerate(batch.masks)
    ]
    width = max(sheet.shape[1] for sheet in sheets)  # a label may be wider than narrow images
    return torch.stack([F.pad(sheet, (0, 0, 0, width - sheet.shape[1]), value=1.0) for sheet in sheets])


def _label(scores: Sequence[Score] | None, item: int) -> str:
    if scores is None:
        return "normal, result, mask"
    score = scores[item]
    near = "" if score.nearest_real is None else f"  nearest real {score.nearest_real:.2f}"
    flag = "" if score.visible else "  NOT VISIBLE"
    excess = "" if score.excess is None else f"  excess {score.excess:.2f}"
    return f"visibility {score.visibility:.2f}{excess}  contrast {score.contrast:+.2f}{near}{flag}"


NODES = [ComposePair, PreviewPair]
