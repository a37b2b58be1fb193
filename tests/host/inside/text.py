"""Anomaly Conditioning with a text encoder: any object with the two methods that core's CLIP has."""

from __future__ import annotations

import torch

from .other_models import sd15
from .scenes import eight, refused
from .start import call


class Words:
    """A text encoder: a token per letter's code, padded to `length` or as long as the text."""

    def __init__(self, length: int | None = 77):
        self.length = length

    def tokenize(self, text: str) -> list[int]:
        return [ord(letter) for letter in text] or [0]

    def encode_from_tokens_scheduled(self, tokens: list[int]) -> list:
        padded = tokens + [0] * ((self.length or 0) - len(tokens))
        encoded = torch.tensor(padded, dtype=torch.float32)[None, :, None].expand(-1, -1, 768)
        return [[encoded, {"pooled_output": encoded[:, 0], "other": "kept"}]]


def _texts(conditioning) -> list[str]:
    return ["".join(chr(int(code)) for code in item[:, 0] if code) for item in conditioning[0][0]]


def check_object_and_type_become_text_and_the_negative_is_empty():
    positive, negative = call("AnomalyConditioning", model=sd15(), object="plate", type="scratch", clip=Words())
    assert _texts(positive) == ["plate scratch"] and _texts(negative) == [""]
    positive, _ = call("AnomalyConditioning", model=sd15(), object="", type="hole", clip=Words())
    assert _texts(positive) == ["damaged hole"]


def check_lines_become_the_items_of_one_conditioning():
    positive, negative = call("AnomalyConditioning", model=sd15(), object="cup", type="crack\nstain", clip=Words())
    assert _texts(positive) == ["cup crack", "cup stain"] and len(positive) == 1
    assert positive[0][1]["pooled_output"].shape == (2, 768) and positive[0][1]["other"] == "kept"
    assert negative[0][0].shape[0] == 1


def check_every_crop_gets_the_lines_of_its_image():
    batch = eight()
    _, _, crop = call("CropToMask", image=batch.images, mask=batch.masks, resolution=128, context=1.0)
    types = [f"type{i}" for i in range(8)]
    positive, _ = call("AnomalyConditioning", model=sd15(), object="o", type="\n".join(types), clip=Words(), crop=crop)
    assert _texts(positive) == [f"o type{part.item}" for part in crop.parts] and len(crop.parts) > 8


@refused("Anomaly Conditioning: ", "different lengths", "one by one")
def check_texts_of_different_lengths_are_refused_as_one_batch():
    call("AnomalyConditioning", model=sd15(), object="cup", type="crack\nstained", clip=Words(None))
