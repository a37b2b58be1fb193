"""Inputs that the FAST nodes refuse, and the messages."""

from __future__ import annotations

import copy
import os

import safetensors.torch
import torch

from .fast_scenes import ADAPTERS, FakeVAE, applied, dataset, random_adapter, sd15, train, with_tokens
from .other_models import flow, random_tokens
from .scenes import FORMS, Conditioning, base, condition, plain_latent, refused
from .start import call, room


def check_what_does_not_fit_is_refused():
    adapter, latent = random_adapter(), plain_latent()[0]
    with refused("Apply FARM: ", "another model", "kind CompactLDM", "SD15", "train an adapter on this one"):
        applied(sd15(), adapter)
    with refused("Apply FARM: ", "prediction v", "flow"):
        applied(flow(), adapter)
    for node, use in (
        ("Apply FARM", lambda *kind: applied(base()[0], adapter, *kind)),
        ("Anomaly Tokens", lambda *kind: with_tokens(condition(), adapter, *kind)),
    ):
        with refused(f"{node}: ", "brushed_metal/rust: it is not in the adapter, which has brushed_metal/pit"):
            use("brushed_metal", "rust")
        with refused(f"{node}: ", "marble/scratch: it is not in the adapter, which has brushed_metal/pit"):
            use("marble", "scratch")
        with refused(f"{node}: ", "type: 2 lines for 3 images"):
            use("a\nb\nc", "pit\nscratch")
    with refused("Anomaly Tokens: ", "768 channels", "128", "another model"):
        with_tokens(random_tokens(), adapter)
    with refused("Anomaly Tokens: ", "for 3 items", "for 2"):
        with_tokens(Conditioning([[torch.zeros(3, 4, 128), {}]], []), adapter, "brushed_metal", "pit\nscratch")
    with refused("KSampler (AIAS): ", "types for 2 items, and 1 are sampled"):
        FORMS[0](applied(base()[0], adapter, "brushed_metal", "pit\nscratch"), condition(), latent)
    with refused("KSampler (AIAS): ", "fills a mask", "Defect Latent"):
        FORMS[0](applied(base()[0], adapter), condition(), {"samples": torch.zeros(1, 4, 16, 16)})


def check_an_adapter_of_another_base_of_the_same_kind_is_refused():
    other = base()[0].clone()
    other.model = copy.copy(other.model)
    other.model.anomaly_digest = "0123456789abcdef"
    with refused("Apply FARM: ", "digest", "0123456789abcdef"):
        applied(other, random_adapter())


class _Opened:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (str(ADAPTERS / "opened"),)


def check_files_that_are_no_adapters_are_refused():
    node = "Load FAST Adapter: "
    with refused(node, "no adapter 'gone.safetensors' in anomaly_adapters", str(ADAPTERS)):
        call("LoadFASTAdapter", adapter_name="gone.safetensors")
    torch.save(_Opened(), ADAPTERS / "pickled.safetensors")
    with refused(f"{node}pickled.safetensors: ", "no readable safetensors file"):
        call("LoadFASTAdapter", adapter_name="pickled.safetensors")
    assert not (ADAPTERS / "opened").exists()
    (ADAPTERS / "lora.safetensors").write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}))
    with refused(f"{node}lora.safetensors: ", "not an adapter of this pack", "ComfyUI's own loaders"):
        call("LoadFASTAdapter", adapter_name="lora.safetensors")


def check_names_outside_the_folder_and_folders_that_cannot_be_written_are_refused():
    for name in ("../out", "/tmp/out", "", "a/../../out"):
        with refused("Save FAST Adapter: ", "is not below"):
            call("SaveFASTAdapter", adapter=random_adapter(), name=name)
    (ADAPTERS / "file").write_text("")
    with refused("Save FAST Adapter: ", "cannot write", "give ComfyUI the right to write there"):
        call("SaveFASTAdapter", adapter=random_adapter(), name="file/mine")


def check_bad_trainings_are_refused_before_they_begin():
    node = "Train FAST Adapter: "
    with refused(node, "this model brings no anomaly tokens", "connect conditioning"):
        train(sd15(), FakeVAE())
    with refused(node, "2 items", "brushed_metal / pit"):
        train(sd15(), FakeVAE(), conditioning=[[torch.zeros(2, 9, 768), {}]])
    with refused(node, "tokens of 1024 channels, for another kind of model: this one reads 768"):
        train(sd15(), FakeVAE(), conditioning=[[torch.zeros(1, 9, 1024), {}]])
    with refused(node, "resolution: 66", "multiple of 4", "64"):
        train(resolution=66)
    with refused(node, "latent: 4 channels, the model 16"):
        other = base()[0].clone()
        other.add_object_patch("latent_format", type("Other", (), {"latent_channels": 16})())
        train(other)
    data = room("nodes.split_dataset").Dataset
    full = dataset()
    with refused(node, "show no defect"):
        normal = data(tuple(s for s in full.train if not s.mask), full.held_back, full.split, full.file)
        call(
            "TrainFASTAdapter",
            model=base()[0],
            vae=base()[1],
            dataset=normal,
            steps=2,
            batch=2,
            learning_rate=1e-3,
            tokens=3,
            resolution=64,
            patience=0,
            seed=0,
            conditioning=None,
        )


def check_empty_masks_are_reported():
    empty, frozen = torch.zeros(1, 1, 16, 16), room("training.frozen")
    training = room("training.defects")
    real = training.encoded_defects
    training.encoded_defects = lambda *_: frozen.Latents(torch.zeros(1, 4, 16, 16), empty, torch.zeros(1).long())
    try:
        with refused("Train FAST Adapter: ", "1 of 1 masks are empty"):
            train()
    finally:
        training.encoded_defects = real
