"""Anomaly Conditioning: "this anomaly on this object", from a compact base's tokens or a checkpoint's text encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from comfy_api.latest import io

from ..errors import Refused
from ..synthesis.settings import FREE, Look
from ..synthesis.windows import Crop
from . import sockets
from .images import lines
from .sockets import CATEGORY

Conditioning = list[list]  # [[tokens [B, k, d], {}]]


class AnomalyConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_AnomalyConditioning",
            display_name="Anomaly Conditioning",
            category=f"{CATEGORY}/sampling",
            description=(
                "Sets which anomaly the model makes on which object. A compact base has learned tokens for the "
                "types it was trained on; for other checkpoints connect CLIP, and the words are encoded as text."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample; a compact base brings its tokens along."),
                *object_and_type(
                    "the base's training data calls it",
                    "The anomaly: a type that the base knows for this object, 'good' for normal surface.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="Text encoder of the checkpoint (SD, SDXL, Flux, ...). Not for compact bases.",
                ),
                lines_crop(),
            ],
            outputs=[
                io.Conditioning.Output("positive", display_name="positive", tooltip="The anomaly."),
                io.Conditioning.Output(
                    "negative",
                    display_name="negative",
                    tooltip="Nothing in particular: what guidance steers away from.",
                ),
            ],
        )

    @classmethod
    def execute(cls, model, object: str, type: str, clip=None, crop=None) -> io.NodeOutput:
        objects, types = per_crop(object, type, crop)
        if hasattr(model.model, "anomaly_tokens"):
            return io.NodeOutput(*token_conditioning(model, objects, types))
        if clip is None:
            raise Refused(
                "clip",
                "not connected, and this model brings no anomaly tokens, as a compact base does",
                remedy="connect the CLIP of the model's checkpoint, so that object and type are encoded as text",
            )
        return io.NodeOutput(*text_conditioning(clip, objects, types))


def object_and_type(called: str, type: str) -> list[io.Input]:
    """The texts that `per_crop` reads. called: who calls the object by which name; type: which types there are."""
    object = f"What the image shows, as {called}. One line for all images, or one line per image of the batch."
    type = f"{type} One line for all images, or one line per image."
    return [
        io.String.Input("object", default="brushed_metal", multiline=True, tooltip=object),
        io.String.Input("type", default="scratch", multiline=True, tooltip=type),
    ]


def lines_crop() -> io.Input:
    """The crop that `per_crop` takes."""
    return sockets.Crop.Input(
        "crop",
        optional=True,
        tooltip="Crop to Mask's crop, where object or type has one line per image: each crop then gets the lines of "
        "its image.",
    )


def token_conditioning(
    model, objects: Sequence[str], types: Sequence[str], look: Look = FREE
) -> tuple[Conditioning, Conditioning]:
    """(positive, negative) from the tokens of a compact base: rows of the types, and its unconditional row.

    Args:
        look: what all anomalies should look like.

    Raises:
        Refused: an (object, type) that the base was not trained on; a look that it cannot be asked for.
    """
    labels, tokens = model.model.anomaly_labels, model.model.anomaly_tokens
    unknown = sorted({pair for pair in zip(objects, types, strict=True) if pair not in labels})
    if unknown:
        known = ", ".join(f"{object} / {type}" for object, type in labels)
        asked = ", ".join(f"{object} / {type}" for object, type in unknown)
        raise Refused("type", f"this base has no tokens for {asked}", f"one of {known}")
    rows = [labels.index(pair) for pair in zip(objects, types, strict=True)]
    if look.free:
        return [[tokens[rows], {}]], [[tokens[-1:], {}]]
    asked = model.model.anomaly_context(rows, torch.tensor([look.row()] * len(rows))).detach().to(tokens)
    return [[asked, {}]], [[tokens[-1:], {}]]


def text_conditioning(clip, objects: Sequence[str], types: Sequence[str]) -> tuple[Conditioning, Conditioning]:
    """(positive, negative) from text: "object type" ("damaged type" where the object has no name), and empty text.

    Raises:
        Refused: texts of one batch that the encoder gives different lengths.
    """
    texts = [f"{object or 'damaged'} {type}" for object, type in zip(objects, types, strict=True)]
    encoded = {text: clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in dict.fromkeys([*texts, ""])}
    return _stacked([encoded[text] for text in texts]), encoded[""]


def per_crop(object: str, type: str, crop: Crop | None) -> tuple[list[str], list[str]]:
    """Object and type of every item of the batch: lines as they stand, or per image spread over its crops."""
    if crop is not None:
        objects, types = (lines(text, crop.items, name) for text, name in ((object, "object"), (type, "type")))
        return [objects[part.item] for part in crop.parts], [types[part.item] for part in crop.parts]
    count = max(len(text.strip().splitlines()) for text in (object, type)) or 1
    return lines(object, count, "object"), lines(type, count, "type")


def lengthened(extras: dict, tokens: int) -> dict:
    """What CONDITIONING holds beside its tokens, for `tokens` more of them: an attention mask shows them too."""
    mask = extras.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        return extras
    return extras | {"attention_mask": torch.cat([mask, mask.new_ones(len(mask), tokens)], dim=1)}


def _stacked(conditionings: Sequence[Conditioning]) -> Conditioning:
    """One conditioning whose item i is `conditionings[i]`."""
    if all(one is conditionings[0] for one in conditionings):
        return conditionings[0]
    if any(len(one) != 1 for one in conditionings) or len({one[0][0].shape[1:] for one in conditionings}) > 1:
        raise Refused(
            "clip",
            "this text encoder gives texts of different lengths or several stages, which one batch cannot hold",
            remedy="queue the types one by one",
        )
    extras = [one[0][1] for one in conditionings]
    return [[torch.cat([one[0][0] for one in conditionings]), {key: _joined(extras, key) for key in extras[0]}]]


def _joined(extras: Sequence[dict], key: str):
    """One entry beside the tokens (pooled output, attention mask, ...) for the whole batch."""
    values = [one.get(key) for one in extras]
    if all(isinstance(value, torch.Tensor) for value in values) and len({value.shape for value in values}) == 1:
        return torch.cat(values)
    if any(isinstance(value, torch.Tensor) for value in values) or any(value != values[0] for value in values):
        raise Refused(
            "clip",
            f"one batch cannot hold what this encoder gives as {key}",
            remedy="queue the types one by one",
        )
    return values[0]


NODES = [AnomalyConditioning]
