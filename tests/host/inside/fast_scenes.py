"""What the checks of FAST share: models of every shape, a dataset, a short training, adapters and their use."""

from __future__ import annotations

import copy
from functools import cache

import comfy.model_management
import comfy.supported_models
import folder_paths
import torch
from torch import Tensor

from .other_models import SD15_UNET
from .scenes import Conditioning, base
from .start import INPUT, SCRATCH, call, room

ADAPTERS = SCRATCH / "adapters"
ADAPTERS.mkdir(exist_ok=True)
folder_paths.folder_names_and_paths["anomaly_adapters"] = ([str(ADAPTERS)], {".safetensors"})
KIND = ("brushed_metal", "scratch")


class FakeVAE:
    """Reduces the size by 8, to 4 channels, as SD's VAE does."""

    def spacial_compression_encode(self) -> int:
        return 8

    def encode(self, image: Tensor) -> Tensor:
        grey = torch.nn.functional.avg_pool2d(image.movedim(-1, 1), 8).mean(1, keepdim=True)
        return 10 * (grey - 0.5).expand(-1, 4, -1, -1)


@cache
def dataset():
    """Brushed metal: three types, six images of each, half of which train."""
    split, samples = (
        room("datasets.split"),
        room("datasets.procedural").write_surfaces(
            INPUT / "metal", materials=("brushed_metal",), normals=1, defects=6, size=64, seed=7
        ),
    )
    samples = room("datasets.mvtec").read_mvtec(samples)
    split.save_split(split.make_split(samples, {s.name: s.name for s in samples}, share=0.5), INPUT / "metal.json")
    return call("SplitDataset", folder="metal", split="metal.json", share=0.5, types="", seed=0)[0]


def train(model=None, vae=None, **changed) -> tuple:
    widgets = {
        "steps": 2,
        "batch": 2,
        "learning_rate": 1e-3,
        "tokens": 3,
        "resolution": 64,
        "patience": 0,
        "seed": 0,
        "conditioning": None,
    } | changed
    return call("TrainFASTAdapter", model=model or base()[0], vae=vae or base()[1], dataset=dataset(), **widgets)


@cache
def random_adapter():
    """An adapter for every type of the bundled base, with the weights from which training starts."""
    fast, file = room("modules.fast"), room("modules.base_file")
    model, path = base()[0], room("nodes.compact_base").base_path("surfaces (bundled)")
    fit = room("modules.adapter_file").Fit("CompactLDM", file.file_digest(path), 4, 128, "v")
    torch.manual_seed(0)
    modules = fast.FastModules([label for label in model.model.anomaly_labels if label[1] != "good"], 4, 128, count=3)
    adapter = fast.to_adapter(modules, fit, "split", {})
    return room("nodes.adapters").loaded("random", adapter)


def applied(model, adapter, object=KIND[0], type=KIND[1], strength=1.0, until=100.0, crop=None):
    return call(
        "ApplyFARM", model=model, adapter=adapter, object=object, type=type, strength=strength, until=until, crop=crop
    )[0]


def with_tokens(conditioning: Conditioning, adapter, object=KIND[0], type=KIND[1], crop=None) -> Conditioning:
    (positive,) = call(
        "AnomalyTokens", conditioning=conditioning.positive, adapter=adapter, object=object, type=type, crop=crop
    )
    return Conditioning(positive, conditioning.negative)


def bits(model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.model.diffusion_model.state_dict().items()}


def same(model, before: dict[str, Tensor]) -> bool:
    after = model.model.diffusion_model.state_dict()
    return after.keys() == before.keys() and all(torch.equal(after[name], value) for name, value in before.items())


@cache
def sd15():
    """As `other_models.sd15`, with norm weights that are not zero."""
    return random_model(comfy.supported_models.SD15(copy.deepcopy(SD15_UNET)))


@cache
def sd15_wide():
    """The same with two blocks per level: more than 25 M parameters."""
    unet = copy.deepcopy(SD15_UNET) | {
        "num_res_blocks": [2, 2],
        "transformer_depth": [1] * 4,
        "transformer_depth_output": [1] * 6,
    }
    return random_model(comfy.supported_models.SD15(unet))


@cache
def sdxl():
    """A MODEL of SDXL's shape, random and small: its pooled text is a separate input beside the tokens."""
    unet = copy.deepcopy(SD15_UNET) | {
        "context_dim": 2048,
        "adm_in_channels": 2816,
        "num_classes": "sequential",
        "use_linear_in_transformer": True,
    }
    return random_model(comfy.supported_models.SDXL(unet))


def random_model(config):
    model = config.get_model({}, "")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.diffusion_model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(name.endswith("weight"))
            else:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
    return comfy.model_patcher.ModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


@cache
def half(dtype: torch.dtype):
    """SD 1.5's shape with the same weights in half precision."""
    config = comfy.supported_models.SD15(copy.deepcopy(SD15_UNET) | {"dtype": dtype})
    config.set_inference_dtype(dtype, None)
    made = random_model(config)
    made.model.diffusion_model.load_state_dict(sd15().model.diffusion_model.state_dict())
    return made
