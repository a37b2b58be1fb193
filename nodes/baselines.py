"""CutPaste, DRAEM and Copy-Paste: simple ways to make defects, to compare the model's with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import comfy.model_management
from comfy_api.latest import io

from ..baselines.copy_paste import copy_paste
from ..baselines.cutpaste import cutpaste
from ..baselines.draem import Textures, draem
from ..choices import VARIANTS
from ..errors import Refused
from .errors import answer
from .folders import readable_tree
from .images import check_image, repeated, to_batch, to_image, to_picture, with_masks
from .provenance import graph_seed, list_place, listed_seed, remember
from .sockets import CATEGORY, MAX_SEED, SEED

NORMAL = "The normal images, any size; one size per batch."
MASK = "Where the defects go, of the images' size: values above 0.5. One per image, or one for all."
MADE = "The images with their defects; outside the mask every value is the normal image's own."


class CutPaste(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_CutPaste",
            display_name="CutPaste (baseline)",
            category=f"{CATEGORY}/evaluation",
            description=(
                "Fills the mask with surface from another place of the same image, its colours shifted a little "
                "(CutPaste, CVPR 2021). Needs no model: something to compare with."
            ),
            inputs=[
                io.Image.Input("normal", tooltip=NORMAL),
                io.Mask.Input("mask", tooltip=MASK),
                io.Combo.Input(
                    "variant",
                    options=list(VARIANTS),
                    default="patch",
                    tooltip="patch (default): content as large as the mask. scar: a strip 2 to 16 px thin, stretched "
                    "over the mask.",
                ),
                io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=True, tooltip=SEED),
            ],
            outputs=[io.Image.Output("image", display_name="image", tooltip=MADE)],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, normal, mask, variant: str, seed: int) -> io.NodeOutput:
        seeds = _seeds(normal, mask, seed, cls.hidden)
        return _made(normal, mask, lambda p, m, item: cutpaste(p, m, seeds[item], variant))


class DRAEM(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_DRAEM",
            display_name="DRAEM (baseline)",
            category=f"{CATEGORY}/evaluation",
            description=(
                "Blends a foreign texture into the mask, changed by three random operations (DRAEM, ICCV 2021). Needs "
                "no model: something to compare with."
            ),
            inputs=[
                io.Image.Input("normal", tooltip=NORMAL),
                io.Mask.Input("mask", tooltip=MASK),
                io.String.Input(
                    "textures",
                    default="",
                    tooltip="Folder of texture pictures, searched with its subfolders (the paper takes DTD): its path, "
                    "or its name below ComfyUI's input. Empty (default): procedural surfaces.",
                ),
                io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=True, tooltip=SEED),
            ],
            outputs=[io.Image.Output("image", display_name="image", tooltip=MADE)],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, textures):
        return answer(cls, _textures, textures)

    @classmethod
    def fingerprint_inputs(cls, textures, **_):
        if textures is None:
            return None
        # Other files in the folder are other textures.
        states = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in _textures(textures).files]
        return hashlib.sha256(repr(states).encode()).hexdigest()

    @classmethod
    def execute(cls, normal, mask, textures: str, seed: int) -> io.NodeOutput:
        source = _textures(textures)
        seeds = _seeds(normal, mask, seed, cls.hidden)
        return _made(normal, mask, lambda p, m, item: draem(p, m, seeds[item], source))


class CopyPaste(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_CopyPaste",
            display_name="Copy-Paste (baseline)",
            category=f"{CATEGORY}/evaluation",
            description=(
                "Copies a real defect into the mask, stretched from its own box to the mask's, with Poisson blending. "
                "Nothing is drawn at random. Needs no model: something to compare with."
            ),
            inputs=[
                io.Image.Input("normal", tooltip=NORMAL),
                io.Mask.Input("mask", tooltip=MASK),
                io.Image.Input(
                    "source",
                    tooltip="Images of real defects, best of the same object and type; any size. One per normal image, "
                    "or one for all. Not those that you test on.",
                ),
                io.Mask.Input("source_mask", tooltip="Where the defects are in the sources, of the sources' size."),
            ],
            outputs=[io.Image.Output("image", display_name="image", tooltip=MADE)],
        )

    @classmethod
    def execute(cls, normal, mask, source, source_mask) -> io.NodeOutput:
        normal, _ = with_masks(normal, mask, "normal")
        source = check_image(source, "source")
        if len(source) > 1:
            repeated(source, len(normal), "source")
        try:
            sources, masks = with_masks(source, source_mask)
        except Refused as error:
            raise error.of(f"source, {error.subject}") from error
        sources = repeated(sources, len(normal), "source")
        masks *= len(normal) // len(masks)
        return _made(normal, mask, lambda p, m, item: copy_paste(p, m, to_picture(sources[item]), masks[item]))


def _seeds(normal, mask, seed: int, graph) -> list[int]:
    """The seed of every pair of the batch, remembered for the manifest."""
    seed = graph_seed(seed, graph)
    first = listed_seed(seed, list_place())
    seeds = [first + item for item in range(len(with_masks(normal, mask, "normal")[1]))]
    remember(seed, seeds)
    return seeds


def _made(normal, mask, make: Callable) -> io.NodeOutput:
    """Images [B, H, W, 3]: in every mask what `make(picture, mask, item)` puts there, outside the normal's own values.

    Raises Refused as `with_masks` and `make`.
    """
    images = []
    normal, masks = with_masks(normal, mask, "normal")
    for item, inside in enumerate(masks):
        comfy.model_management.throw_exception_if_processing_interrupted()
        image = normal[item].cpu().clone()
        made = make(to_picture(image), inside, item)
        image[inside] = to_image(made)[inside].to(image)
        images.append(image)
    return io.NodeOutput(to_batch(images))


def _textures(folder: str):
    """DRAEM's textures in a folder, absolute or below the host's input. Raises Refused for one without pictures."""
    remedy = "give a folder of textures, its path or its name below ComfyUI's input, or none for procedural surfaces"
    path = readable_tree(folder, remedy) if folder.strip() else None
    try:
        return Textures(path)
    except Refused as error:
        raise Refused(error.subject, error.got, error.accepted, remedy) from error


NODES = [CutPaste, DRAEM, CopyPaste]
