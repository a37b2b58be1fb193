"""Inputs that STAGE's training nodes refuse, and the messages."""

from __future__ import annotations

import torch

from .fast_scenes import ADAPTERS, FakeVAE, dataset, random_adapter, sd15
from .other_models import flow
from .scenes import base, refused
from .stage_training_scenes import train
from .start import call, room

NODE = "Train STAGE Adapter: "


def _with(samples):
    full = dataset()
    return room("nodes.split_dataset").Dataset(tuple(samples), full.held_back, full.split, full.file)


def check_bad_trainings_are_refused_before_they_begin():
    with refused(NODE, "this model brings no anomaly tokens", "connect conditioning"):
        train(sd15(), FakeVAE())
    with refused(NODE, "2 items", "brushed_metal / pit"):
        train(sd15(), FakeVAE(), conditioning=[[torch.zeros(2, 9, 768), {}]])
    with refused(NODE, "tokens of 1024 channels, for another kind of model: this one reads 768"):
        train(sd15(), FakeVAE(), conditioning=[[torch.zeros(1, 9, 1024), {}]])
    with refused(NODE, "resolution: 66", "multiple of 4", "64"):
        train(resolution=66)
    with refused(NODE, "checkpointing: 'some'; accepted is one of auto, on, off"):
        train(checkpointing="some")


def check_tokens_that_do_not_fit_are_refused_before_a_crop_is_encoded():
    text = [[torch.zeros(1, 9, 768), {}]]
    with refused(NODE, "adapter: random was trained for another model", "kind CompactLDM", "SD15"):
        train(sd15(), None, conditioning=text, tokens_of=random_adapter())
    with refused(NODE, "prediction v", "flow"):
        train(flow(), tokens_of=random_adapter())
    few = room("modules.fast").FastModules([("cast_grain", "crack")], 4, 128, count=3)
    adapter = room("modules.fast").to_adapter(few, random_adapter().adapter.base, "split", {})
    few = room("nodes.adapters").loaded("few", adapter)
    with refused(NODE, "brushed_metal/pit: it is not in the adapter, which has cast_grain/crack"):
        train(tokens_of=few)


def check_a_schedule_of_other_levels_is_refused():
    schedule = room("samplers.mask_schedule").MaskSchedule(100, timesteps=500)
    with refused(
        NODE, "mask_schedule: made for 500 levels", "accepted is a schedule of 1000", "connect a schedule of 1000"
    ):
        train(mask_schedule=schedule)


def check_no_pair_is_refused_and_one_pair_trains_without_a_curve():
    full = dataset()
    with refused(NODE, "show no defect; choose another split"):
        train(data=_with(s for s in full.train if not s.mask))
    first = next(s for s in full.train if s.mask)
    adapter, record, curve = train(data=_with([first]))
    assert adapter.adapter.training["curve"] == [] and "Kept are the last weights" in record and curve.std() > 0
    assert adapter.adapter.types == ((first.object, first.type),)


def check_empty_masks_are_reported():
    frozen, training = room("training.frozen"), room("training.defects")
    real = training.encoded_defects
    training.encoded_defects = lambda *_: frozen.Latents(
        torch.zeros(1, 4, 16, 16), torch.zeros(1, 1, 16, 16), torch.zeros(1).long()
    )
    try:
        with refused(NODE, "1 of 1 masks are empty"):
            train()
    finally:
        training.encoded_defects = real


def check_files_and_adapters_of_the_other_method_are_refused():
    with refused(
        "Save STAGE Adapter: ", "adapter: one of FAST; accepted is one of STAGE; give one from Load STAGE Adapter"
    ):
        call("SaveSTAGEAdapter", adapter=random_adapter(), name="mine")
    with refused("Load STAGE Adapter: ", "no adapter 'gone.safetensors' in anomaly_adapters", str(ADAPTERS)):
        call("LoadSTAGEAdapter", adapter_name="gone.safetensors")
    (file,) = call("SaveFASTAdapter", adapter=random_adapter(), name="of-fast")
    with refused("Load STAGE Adapter: ", "adapter: one of FAST; accepted is one of STAGE"):
        call("LoadSTAGEAdapter", adapter_name=file)
    assert base()[0].model.current_patcher is None
