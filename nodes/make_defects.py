"""Make Defects: a photograph, a mask and a type in, the photograph with the defect out. The long graph in one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import comfy.model_management
import latent_preview
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..baselines.drawn import MARGIN, draw_defects
from ..choices import DEFECTS, PRESETS
from ..datasets.procedural import MATERIALS
from ..errors import Refused
from ..images.masks import mask_box
from ..images.windows import cut_image
from ..modules.appearance import APPEARANCE
from ..modules.base_file import file_digest, load_base
from ..modules.compact_ldm import NORMAL, known_type
from ..modules.tokens import Type
from ..seeds import part_seed
from ..synthesis.make import BATCH
from ..synthesis.photograph import Area, Draw, draw_defect
from ..synthesis.settings import FREE, Look, MakeSettings
from ..synthesis.start import sampling
from ..synthesis.windows import Crop, check_windows, window_of
from .aias import AIASSampler, aias_sigmas
from .compact_base import base_names, base_path, compact_model, compact_vae
from .compose import Batch, Score, overlays
from .conditioning import Conditioning, token_conditioning
from .errors import answer
from .folders import BUNDLED
from .images import to_image, to_picture, with_masks
from .latents import ItemSeeds
from .masked_sampler import sampled
from .masks import MAX_CROPS, defect_latent
from .provenance import graph_seed, list_place, listed_seed
from .sockets import CATEGORY, MAX_SEED, Scores, advanced, widget

NODE = "Make Defects"
TYPES = sorted({type for types in MATERIALS.values() for type in types})  # of the bundled base
LOOKS = "0 is that default. For a base of `train-base --drawn`; others cannot be asked."
WINDOW = 512  # px, of models that do not say what they were trained at


class MakeDefects(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_MakeDefects",
            display_name=NODE,
            category=f"{CATEGORY}/make",
            description=(
                "Draws a defect of the chosen type into the mask, on any photograph. Nothing to train, nothing to "
                "download. Images of any size; a mask may have several pieces; batches work. Outside the mask every "
                "pixel stays. With your own MODEL, VAE and conditioning it draws with them instead."
            ),
            inputs=[
                io.Image.Input("image", tooltip="Photographs without a defect, any size."),
                io.Mask.Input(
                    "mask",
                    tooltip="Where the defect goes: paint it in Load Image with Open in MaskEditor. One mask for all "
                    "images, or one for each.",
                ),
                io.Combo.Input("type", options=TYPES, default="crack", tooltip="The kind of defect."),
                _seed(),
                *(widget(Look, name, more=LOOKS, default=0.0, step=0.05, **advanced()) for name in APPEARANCE),
                io.String.Input(
                    "other_type",
                    default="",
                    optional=True,
                    tooltip="For a base of your own: its type, or object/type, in place of the menu's. Empty "
                    "(default): the menu's.",
                    **advanced(),
                ),
                io.Combo.Input(
                    "base_name",
                    options=base_names(),
                    default=BUNDLED,
                    optional=True,
                    tooltip="The model that draws: the bundled one (default), which learned from four drawn "
                    "surfaces, or a .safetensors in models/anomaly_bases. Not used where model is connected.",
                    **advanced(),
                ),
                widget(MakeSettings, "steps", optional=True, **advanced()),
                widget(MakeSettings, "guidance", "cfg", max=30.0, step=0.1, optional=True, **advanced()),
                widget(MakeSettings, "tries", optional=True, **advanced()),
                widget(
                    MakeSettings,
                    "refine",
                    more="The image keeps the photograph's pixels elsewhere. Off: the mask as you painted it.",
                    optional=True,
                    label_on="mask follows the defect",
                    label_off="mask as painted",
                    **advanced(),
                ),
                io.Int.Input(
                    "window",
                    default=0,
                    min=0,
                    max=4096,
                    step=8,
                    optional=True,
                    tooltip="Side in pixels of the squares that the model sees. 0 (default): what a compact base was "
                    "trained at, 512 for other models.",
                    **advanced(),
                ),
                io.Model.Input("model", optional=True, tooltip="Draw with this model instead; any checkpoint."),
                io.Vae.Input("vae", optional=True, tooltip="The VAE of model."),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="What model is to draw, from CLIP Text Encode or Anomaly Conditioning. A compact base "
                    "needs none: type counts.",
                ),
                io.Conditioning.Input("negative", optional=True, tooltip="What it is not to draw: normal surface."),
            ],
            outputs=[
                io.Image.Output("made", display_name="image", tooltip="The photographs with their defects."),
                io.Mask.Output("refined", display_name="mask", tooltip="The pixels of every defect, 0 or 1."),
                Scores.Output("scores", display_name="scores", tooltip="For Save Pairs and Pair Statistics."),
                io.String.Output("kind", display_name="type", tooltip="The type that was drawn, for Save Pairs."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, base_name=None):
        return answer(cls, base_path, base_name)

    @classmethod
    def execute(
        cls,
        image,
        mask,
        type: str,
        seed: int,
        contrast: float = 0.0,
        strength: float = 0.0,
        softness: float = 0.0,
        other_type: str = "",
        base_name: str = BUNDLED,
        steps: int = 10,
        cfg: float = 2.0,
        tries: int = 3,
        refine: bool = True,
        window: int = 0,
        model=None,
        vae=None,
        positive=None,
        negative=None,
    ) -> io.NodeOutput:
        image, masks = with_masks(image, mask)
        look = Look(contrast or None, strength or None, softness or None)
        if model is None:
            if vae is not None or positive is not None or negative is not None:
                raise Refused("model", "not connected, but its VAE or conditioning is", remedy="connect it, too")
            model, vae = _base(base_name)
        elif vae is None:
            raise Refused("vae", "not connected, but model is", remedy="connect the VAE of the model")
        by = _Model.checked(model, vae, other_type.strip() or type, look, window, positive, negative)
        first = listed_seed(graph_seed(seed, cls.hidden), list_place())
        settings = MakeSettings(seed=first, steps=steps, guidance=cfg, tries=tries, refine=refine)
        images, labels, scores = made_defects(by, image, masks, settings)
        batch = Batch(image, images, [one > 0 for one in labels], scores)
        kind = other_type.strip().split("/")[-1] or type
        return io.NodeOutput(images, labels, scores, kind, ui=ui.PreviewImage(overlays(batch), cls=cls))


class DrawDefects(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_DrawDefects",
            display_name="Draw Defects",
            category=f"{CATEGORY}/make",
            description=(
                "Draws a defect of the chosen type into the mask by rules, without a model: in milliseconds, and the "
                "same on every machine. A baseline to compare Make Defects with, and a quick source of many pairs."
            ),
            inputs=[
                io.Image.Input("image", tooltip="Photographs without a defect, any size."),
                io.Mask.Input(
                    "mask",
                    tooltip="Where the defect goes. Scratches, cracks, cuts, fibres and burrs follow its length; all "
                    "other types fill its area.",
                ),
                io.Combo.Input("type", options=sorted(DEFECTS), default="crack", tooltip="The kind of defect."),
                _seed(),
            ],
            outputs=[
                io.Image.Output("drawn", display_name="image", tooltip="The photographs with their defects."),
                io.Mask.Output("changed", display_name="mask", tooltip="The pixels that changed, 0 or 1."),
                io.String.Output("kind", display_name="type", tooltip="The type that was drawn, for Save Pairs."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, image, mask, type: str, seed: int) -> io.NodeOutput:
        image, masks = with_masks(image, mask)
        first = listed_seed(graph_seed(seed, cls.hidden), list_place())
        images, labels = image.cpu().clone(), torch.zeros(image.shape[:3])
        for number, one in enumerate(masks):
            comfy.model_management.throw_exception_if_processing_interrupted()
            rows, columns = _around(one)
            made, changed = draw_defects(
                to_picture(images[number, rows, columns]), one[rows, columns], type, first + number
            )
            where = torch.from_numpy(changed)
            images[number, rows, columns][where] = to_image(made)[where].to(images)
            labels[number, rows, columns] = where.float()
        device = comfy.model_management.intermediate_device()
        return io.NodeOutput(images.to(device), labels.to(device), type)


def _seed() -> io.Input:
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=MAX_SEED,
        control_after_generate=True,
        tooltip="The random choice: another seed is another defect. Image i of a batch uses seed + i.",
    )


def _around(mask: Tensor) -> tuple[slice, slice]:
    """The rows and columns that a drawn defect depends on."""
    top, left, height, width = mask_box(mask)
    return slice(max(top - MARGIN, 0), top + height + MARGIN), slice(max(left - MARGIN, 0), left + width + MARGIN)


@lru_cache(maxsize=1)
def _loaded(path: Path, stamp: tuple[int, int]):
    """(MODEL, VAE) of a base's file. stamp: changes with the file."""
    base, _ = load_base(path)
    return compact_model(base, digest=file_digest(path)), compact_vae(base)


def _base(name: str):
    path = base_path(name)
    status = path.stat()
    try:
        return _loaded(path, (status.st_mtime_ns, status.st_size))
    except Refused as error:
        raise error.of(name) from error  # the menu's name, not the server's path


@dataclass(frozen=True, eq=False)
class _Model:
    """What draws: MODEL and VAE, and a conditioning or the (object, type) of a compact base's tokens.

    look: asked of the tokens; resolution: px, side of the windows.
    """

    model: Any
    vae: Any
    type: Type | None
    given: tuple[Conditioning, Conditioning] | None
    look: Look
    resolution: int

    @classmethod
    def checked(cls, model, vae, type: str, look: Look, window: int, positive, negative) -> _Model:
        """Raises Refused for a type that the base does not know, and for inputs that do not go together."""
        inner = model.model
        resolution = window or getattr(inner, "anomaly_resolution", WINDOW)
        if positive is None and hasattr(inner, "anomaly_labels"):
            return cls(model, vae, known_type(inner.anomaly_labels, type), None, look, resolution)
        if positive is None or negative is None:
            raise Refused(
                "positive and negative",
                "not connected, and this model has no types of its own",
                remedy="connect CLIP Text Encode twice: the defect in words, and an empty text",
            )
        if not look.free:
            got = "set, but conditioning alone tells this model what to draw"
            raise Refused("contrast, strength and softness", got, remedy="set them to 0, and say it in the text")
        return cls(model, vae, None, (positive, negative), look, resolution)

    def conditioning(self, count: int, normal: bool) -> tuple[Conditioning, Conditioning]:
        """(positive, negative) for `count` windows, of the defect or of normal surface."""
        if self.given:
            positive, negative = self.given
            return (negative, negative) if normal else self.given
        object, type = self.type
        look = FREE if normal else self.look
        return token_conditioning(self.model, [object] * count, [NORMAL if normal else type] * count, look)


class _ModelFiller:
    """A graph's model as a `WindowFiller`. normal: the area's image, [h, w, 3]; show: called after every step of a
    defect's draw, as core's samplers call."""

    def __init__(self, by: _Model, normal: Tensor, area: Area, show: Callable):
        self.by, self.area, self.show = by, area, show
        plane = normal.movedim(-1, 0)
        crops = torch.stack([cut_image(plane, part.window).movedim(0, -1) for part in area.parts])
        masks = [part.shown() for part in area.parts]
        self._latents = [
            defect_latent(crops[first : first + BATCH], masks[first : first + BATCH], by.vae)
            for first in range(0, len(masks), BATCH)
        ]
        self.roundtrip = self._decoded([latent["samples"] for latent in self._latents])

    def filled(self, seeds: Sequence[int], steps: int, guidance: float, normal: bool) -> Tensor:
        how = sampling(PRESETS[0], steps)
        sampler, sigmas = AIASSampler(how.options, NODE), aias_sigmas(self.by.model, **how.grid)
        callback = None if normal else self.show
        made = []
        for seed in seeds:
            comfy.model_management.throw_exception_if_processing_interrupted()
            samples, first = [], 0
            for latent in self._latents:
                count = len(latent["samples"])
                parts = self.area.parts[first : first + count]
                own = ItemSeeds(seed, [part_seed(seed, part.number) for part in parts])
                conditioning = self.by.conditioning(count, normal)
                start = latent["samples"], latent["noise_mask"]
                samples.append(sampled(sampler, self.by.model, own, guidance, *conditioning, *start, sigmas, callback))
                first += count
            made.append(self._decoded(samples))
        return torch.stack(made)

    def _decoded(self, samples: Sequence[Tensor]) -> Tensor:
        """Latents as windows, [P, 3, R, R]. Raises Refused for a VAE that gives another size than it was given."""
        planes = torch.cat([self.by.vae.decode(some) for some in samples]).permute(0, 3, 1, 2).cpu().float()
        check_windows(planes, Crop(self.area.parts, tuple(self.area.mask.shape), 1))
        return torch.stack([window_of(plane, self.by.resolution) for plane in planes])


def made_defects(
    by: _Model, image: Tensor, masks: Sequence[Tensor], settings: MakeSettings
) -> tuple[Tensor, Tensor, list[Score]]:
    """Images [B, H, W, 3] with a defect each, the masks [B, H, W] that they fill, and their scores.

    Args:
        image: [B, H, W, 3]; masks: bool [H, W] each, not empty.
        settings: of image 0; image i has seed + i.
    """
    steps = settings.steps
    sampling(PRESETS[0], steps).levels()  # refuses steps that no run has, before anything is encoded
    images, labels, scores = image.cpu().clone(), torch.zeros(image.shape[:3]), []
    show = latent_preview.prepare_callback(by.model, len(masks) * steps)
    for number, mask in enumerate(masks):

        def callback(step: int, x0: Tensor, x: Tensor, _, before: int = number * steps) -> None:
            show(before + step, x0, x, len(masks) * steps)

        area = _area(mask, by.resolution)
        normal = images[number][area.place]
        filler = _ModelFiller(by, normal, area, callback)
        own = replace(settings, seed=settings.seed + number)
        draw, label = draw_defect(to_picture(normal), area, filler, own)
        images[number][area.place][label] = to_image(draw.picture)[label].to(images)
        labels[number][area.place] = label.float()
        scores.append(_score(draw, area))
    device = comfy.model_management.intermediate_device()
    return images.to(device), labels.to(device), scores


def _area(mask: Tensor, resolution: int) -> Area:
    """Raises Refused for more windows than are made for one image."""
    area = Area.of(mask, resolution)
    if len(area.parts) > MAX_CROPS:
        got = f"{len(area.parts)} far pieces, each a window"
        raise Refused("mask", got, f"at most {MAX_CROPS}", "remove specks from it, or enlarge the window")
    return area


def _score(draw: Draw, area: Area) -> Score:
    windows = tuple(part.window for part in area.parts)
    return Score(**vars(draw.scores), visible=draw.visible, windows=windows, seed=draw.seed, blank=draw.blank)


NODES = [MakeDefects, DrawDefects]
