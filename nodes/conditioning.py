"""CONDITIONING for "this anomaly on this object", from a compact base's tokens or from a checkpoint's text encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..synthesis.crop import Crop
from .images import lines

Conditioning = list[list]  # [[tokens [B, k, d], {}]]


def token_conditioning(model, objects: Sequence[str], types: Sequence[str]) -> tuple[Conditioning, Conditioning]:
    """(positive, negative) from the tokens of a compact base: rows of the types, and its unconditional row.

    Raises:
        ValueError: an (object, type) that the base was not trained on.
    """
    labels, tokens = model.model.anomaly_labels, model.model.anomaly_tokens
    unknown = sorted({pair for pair in zip(objects, types, strict=True) if pair not in labels})
    if unknown:
        known = ", ".join(f"{object} / {type}" for object, type in labels)
        asked = ", ".join(f"{object} / {type}" for object, type in unknown)
        raise ValueError(f"Anomaly Conditioning: this base has no tokens for {asked}; it knows {known}.")
    rows = [labels.index(pair) for pair in zip(objects, types, strict=True)]
    return [[tokens[rows], {}]], [[tokens[-1:], {}]]


def text_conditioning(clip, objects: Sequence[str], types: Sequence[str]) -> tuple[Conditioning, Conditioning]:
    """(positive, negative) from text: "object type" ("damaged type" where the object has no name), and empty text.

    Raises:
        ValueError: texts of one batch that the encoder gives different lengths.
    """
    texts = [f"{object or 'damaged'} {type}" for object, type in zip(objects, types, strict=True)]
    encoded = {text: clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in dict.fromkeys([*texts, ""])}
    return _stacked([encoded[text] for text in texts]), encoded[""]


def per_crop(object: str, type: str, crop: Crop | None) -> tuple[list[str], list[str]]:
    """Object and type of every item of the batch: lines as they stand, or per image spread over its crops."""
    if crop is not None:
        objects, types = (
            lines("Anomaly Conditioning", text, crop.items, name) for text, name in ((object, "object"), (type, "type"))
        )
        return [objects[part.item] for part in crop.parts], [types[part.item] for part in crop.parts]
    count = max(len(text.strip().splitlines()) for text in (object, type)) or 1
    return lines("Anomaly Conditioning", object, count, "object"), lines("Anomaly Conditioning", type, count, "type")


def _stacked(conditionings: Sequence[Conditioning]) -> Conditioning:
    """One conditioning whose item i is `conditionings[i]`."""
    if all(one is conditionings[0] for one in conditionings):
        return conditionings[0]
    tokens = [one[0][0] for one in conditionings]
    if len({t.shape[1] for t in tokens}) > 1:
        raise ValueError(
            "Anomaly Conditioning: this text encoder gives texts of different lengths, which one batch cannot hold; "
            "queue the types one by one."
        )
    extras = dict(conditionings[0][0][1])
    if extras.get("pooled_output") is not None:
        extras["pooled_output"] = torch.cat([one[0][1]["pooled_output"] for one in conditionings])
    return [[torch.cat(tokens), extras]]
