"""Apply FARM, for the AIAS samplers, and Anomaly Tokens on a CONDITIONING, for any sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from comfy_api.latest import io
from torch import Tensor

from ..errors import Refused
from ..synthesis.start import farm_options
from ..synthesis.windows import Crop
from . import sockets
from .adapters import LoadedAdapter, check_fit, check_method, token_rows
from .conditioning import Conditioning, lengthened, lines_crop, object_and_type, per_crop
from .noise_levels import level_table, timestep_of
from .sockets import CATEGORY

FARM_KEY = "sias_fast"  # of the attachment, and of the additional models


class ApplyFARM(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_ApplyFARM",
            display_name="Apply FARM",
            category=f"{CATEGORY}/training",
            description=(
                "Lets FARM rebuild the anomaly inside the mask while the AIAS nodes sample. It only attaches: "
                "ComfyUI's own samplers do as before. Use it together with Anomaly Tokens."
            ),
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model that the adapter was trained on; it is not changed, a copy with FARM comes out.",
                ),
                sockets.Adapter.Input("adapter", tooltip="From Train FAST Adapter or Load FAST Adapter."),
                *adapter_types(),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="FARM's share of the estimate in the mask: 1 (default) FARM alone, which skips the model "
                    "at these steps; 0 no FARM. The preset 'paper' knows only 0 and 1.",
                ),
                io.Float.Input(
                    "until",
                    default=40.0,
                    min=0.0,
                    max=999.0,
                    step=1.0,
                    tooltip="FARM works from pure noise (t = 999) down to this t; below it the model alone draws the "
                    "texture. Default 40; the paper has 2.",
                ),
                lines_crop(),
            ],
            outputs=[
                io.Model.Output("patched", display_name="model", tooltip="The model with FARM, for the AIAS nodes.")
            ],
        )

    @classmethod
    def execute(cls, model, adapter, object: str, type: str, strength: float, until: float, crop=None) -> io.NodeOutput:
        return io.NodeOutput(apply_farm(model, adapter, object, type, strength, until, crop))


class AnomalyTokensNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_AnomalyTokens",
            display_name="Anomaly Tokens",
            category=f"{CATEGORY}/training",
            description=(
                "Puts the tokens that an adapter learned for a type behind the conditioning's own. For every sampler, "
                "ComfyUI's own as well; the negative conditioning stays without."
            ),
            inputs=[
                io.Conditioning.Input(
                    "conditioning",
                    tooltip="Anomaly Conditioning's positive, made with the same "
                    "model, and for checkpoints with the text that the adapter was trained with.",
                ),
                sockets.Adapter.Input(
                    "adapter",
                    tooltip="Of FAST or STAGE, from a Train or a Load node; with both, STAGE's.",
                ),
                *adapter_types(),
                lines_crop(),
            ],
            outputs=[
                io.Conditioning.Output(
                    "positive",
                    display_name="positive",
                    tooltip="The conditioning with the anomaly's tokens, for a sampler's positive.",
                )
            ],
        )

    @classmethod
    def execute(cls, conditioning, adapter, object: str, type: str, crop=None) -> io.NodeOutput:
        return io.NodeOutput(with_tokens(conditioning, adapter, object, type, crop))


def adapter_types() -> list[io.Input]:
    return object_and_type("the training's folders call it", "The anomaly, one of the adapter's types.")


@dataclass(frozen=True)
class Attached:
    """What Apply FARM leaves on a MODEL beside the module itself: rows of the types, one or one per item; share of
    the estimate in the mask; t in 0 .. 999 below which FARM rests; the model's sigma table."""

    rows: tuple[int, ...]
    strength: float
    until: float
    table: Tensor


def apply_farm(model, adapter: LoadedAdapter, object: str, type: str, strength: float, until: float, crop: Crop | None):
    """A clone of the MODEL that the AIAS samplers run with FARM; at strength 0 one that they run without.

    Raises:
        Refused: an adapter of another model, a type that it was not trained on, lines that are not one per image.
    """
    check_method(adapter.adapter, "fast")
    check_fit(adapter, model)
    rows = token_rows(adapter, *per_crop(object, type, crop))
    table, clone = level_table(model), model.clone()
    clone.remove_attachments(FARM_KEY)
    clone.remove_additional_models(FARM_KEY)
    if strength > 0:
        clone.set_attachments(FARM_KEY, Attached(tuple(rows), strength, until, table))
        clone.set_additional_models(FARM_KEY, [adapter.patcher.clone()])
    return clone


def farm_share(model) -> float:
    """FARM's share of the estimate in the mask, as Apply FARM set it; 0 without FARM."""
    attached = model.get_attachment(FARM_KEY)
    return attached.strength if attached else 0.0


def with_farm_share(model, share: float):
    """A clone of a MODEL with FARM, which has another share there."""
    clone = model.clone()
    clone.set_attachments(FARM_KEY, replace(model.get_attachment(FARM_KEY), strength=share))
    return clone


def with_farm_of(model, places: Sequence[int]):
    """A clone of a MODEL, with or without FARM, for the items of the batch at `places` alone."""
    clone, attached = model.clone(), model.get_attachment(FARM_KEY)
    if attached:
        rows = tuple(attached.rows[place % len(attached.rows)] for place in places)
        clone.set_attachments(FARM_KEY, replace(attached, rows=rows))
    return clone


def foreground_options(patcher, mask: Tensor | None, background: Tensor | None, alpha) -> dict:
    """The keywords that FARM adds to `sample_aias`; none where Apply FARM left nothing on the running model.

    Args:
        patcher: the running MODEL; mask [B, 1, h, w], background [B, C, h, w]: as the sampler gets them.
        alpha: signal scale of a sigma; None is 1.

    Raises:
        Refused: no mask to fill, or types for another number of items.
    """
    attached = patcher and patcher.get_attachment(FARM_KEY)
    if not attached:
        return {}
    if mask is None:
        raise Refused(
            "latent",
            "no mask, and the model has FARM, which fills a mask",
            remedy="make the latent with Defect Latent, or sample with the model from before Apply FARM",
        )
    again, left = divmod(len(background), len(attached.rows))
    if left:
        raise Refused(
            "model",
            f"Apply FARM has types for {len(attached.rows)} items, and {len(background)} are sampled",
            remedy="give Apply FARM one line, or as many as images, and connect Crop to Mask's crop to it",
        )
    (module,) = patcher.get_additional_models_with_key(FARM_KEY)
    rows, timestep = torch.tensor(attached.rows * again, device=mask.device), timestep_of(attached.table)
    foreground = module.model.foreground(mask, background, rows, timestep, alpha or (lambda sigma: 1.0))
    return farm_options(foreground, attached.strength, attached.until) | {"timestep": timestep}


def with_tokens(
    conditioning: Conditioning, adapter: LoadedAdapter, object: str, type: str, crop: Crop | None
) -> Conditioning:
    """The conditioning with the tokens of each item's type behind its own.

    Raises:
        Refused: tokens of another width, a type that the adapter was not trained on, other numbers of items.
    """
    rows = token_rows(adapter, *per_crop(object, type, crop))
    return [
        [_appended(tokens, adapter, rows), lengthened(extras, adapter.modules.tokens.rows.shape[1])]
        for tokens, extras in conditioning
    ]


def _appended(tokens: Tensor, adapter: LoadedAdapter, rows: Sequence[int]) -> Tensor:
    wanted = adapter.adapter.base.token_channels
    if tokens.ndim != 3 or tokens.shape[-1] != wanted:
        raise Refused(
            "conditioning",
            f"tokens of {tokens.shape[-1]} channels, and the adapter {adapter.name} was trained for another model, of "
            f"{wanted}",
            remedy="make both with the same model",
        )
    if 1 not in (len(tokens), len(rows)) and len(tokens) != len(rows):
        raise Refused(
            "conditioning",
            f"for {len(tokens)} items, and object and type are for {len(rows)}",
            remedy="give both one line, or the same lines and the same crop",
        )
    count = max(len(tokens), len(rows))
    own = adapter.modules.tokens(rows).to(tokens).expand(count, -1, -1)
    return torch.cat([tokens.expand(count, -1, -1), own], dim=1)


NODES = [ApplyFARM, AnomalyTokensNode]
