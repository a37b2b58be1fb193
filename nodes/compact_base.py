"""Load Anomaly LDM: a compact base as a MODEL and a VAE made of ComfyUI's own classes.

Core's samplers, previews and memory management treat it like any other model.
"""

from __future__ import annotations

from pathlib import Path

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models_base
import folder_paths
import torch
import torch.nn.functional as F
from comfy_api.latest import io
from torch import Tensor, nn

from ..errors import Refused
from ..modules.base_file import file_digest, load_base
from ..modules.compact_ldm import CompactLDM
from ..samplers.schedule import ldm_sigmas
from .errors import answer
from .folders import BASES, BUNDLED, WEIGHTS
from .sockets import CATEGORY

RATIO = 4  # pixels per latent cell


class LoadAnomalyLDM(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_LoadAnomalyLDM",
            display_name="Load Anomaly LDM",
            category=f"{CATEGORY}/loaders",
            description=(
                "Loads a compact base as MODEL and VAE: a latent diffusion model that runs on a CPU, reduces by 4 "
                "instead of 8, and was trained on your surfaces with `anomaly-synthesis train-base`. For SD, SDXL, "
                "Flux and others use ComfyUI's own loaders; every other node works with both. It takes "
                "no ControlNet."
            ),
            inputs=[
                io.Combo.Input(
                    "base_name",
                    options=base_names(),
                    default=BUNDLED,
                    tooltip="A .safetensors in models/anomaly_bases. The bundled base knows four procedural surfaces "
                    "(brushed metal, cast grain, printed pattern, woven cloth) and is for trying the nodes.",
                ),
                io.Boolean.Input(
                    "aware",
                    default=True,
                    label_on="mask and background",
                    label_off="unconditional (papers)",
                    tooltip="On (default): the model sees where the defect goes and what surrounds it. Off: it is "
                    "the unconditional model of the papers, held by the background alone.",
                ),
            ],
            outputs=base_outputs(),
        )

    @classmethod
    def validate_inputs(cls, base_name):
        return answer(cls, base_path, base_name)

    @classmethod
    def fingerprint_inputs(cls, base_name, aware):
        if base_name is None:
            return None
        status = base_path(base_name).stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def execute(cls, base_name: str, aware: bool) -> io.NodeOutput:
        return io.NodeOutput(*loaded_base(base_name, aware))


def base_outputs() -> list[io.Output]:
    """What `loaded_base` gives, as outputs of a node."""
    return [
        io.Model.Output("model", display_name="model", tooltip="The denoiser, v-prediction; any sampler."),
        io.Vae.Output("vae", display_name="vae", tooltip="Its autoencoder, factor 4."),
        io.Int.Output(
            "resolution",
            display_name="resolution",
            tooltip="Side in pixels that it was trained at; connect it to Crop to Mask.",
        ),
    ]


def loaded_base(name: str, aware: bool = True) -> tuple[comfy.model_patcher.ModelPatcher, comfy.sd.VAE, int]:
    """MODEL, VAE and resolution of a base in the menu. Raises Refused as `load_base`, with the menu's name."""
    path = base_path(name)
    try:
        base, _ = load_base(path)
    except Refused as error:
        raise error.of(name) from error  # not the path
    return compact_model(base, aware, file_digest(path)), compact_vae(base), base.config.resolution


def base_names() -> list[str]:
    """What the menu offers: the bundled base, then the files of models/anomaly_bases."""
    return [BUNDLED, *folder_paths.get_filename_list(BASES)]


def base_path(name: str) -> Path:
    """The file of a base. Raises Refused with the folders searched where there is none."""
    if name == BUNDLED:
        return WEIGHTS / "surfaces.safetensors"
    path = folder_paths.get_full_path(BASES, name)
    if path is None:
        searched = ", ".join(folder_paths.get_folder_paths(BASES))
        raise Refused(
            "base_name",
            f"no base {name!r} in {BASES} (searched: {searched})",
            remedy=f"put the .safetensors there, or choose {BUNDLED!r}",
        )
    return Path(path)


class CompactFormat(comfy.latent_formats.LatentFormat):
    """Unit variance per channel inside the model; RGB factors fitted to the decoder for live previews."""

    spacial_downscale_ratio = RATIO

    def __init__(self, base: CompactLDM):
        self.latent_channels = base.config.latent_channels
        self.mean, self.std = base.latent_mean.clone(), base.latent_std.clone()
        factors = _rgb_factors(base)
        self.latent_rgb_factors, self.latent_rgb_factors_bias = factors[:-1].tolist(), factors[-1].tolist()

    def process_in(self, latent: Tensor) -> Tensor:
        return (latent - self.mean.to(latent)) / self.std.to(latent)

    def process_out(self, latent: Tensor) -> Tensor:
        return latent * self.std.to(latent) + self.mean.to(latent)


class CompactUNet(nn.Module):
    """The UNet under the signature that BaseModel calls; x is state, mask and background in one stack."""

    def __init__(self, unet: nn.Module, context_dim: int, dtype: torch.dtype, device=None, operations=None):
        super().__init__()
        self.unet = _castable(unet)
        self.dtype = dtype

    def forward(self, x, timesteps, context, control=None, transformer_options=None, **kwargs) -> Tensor:
        if control is not None:
            raise Refused(
                "ControlNet", "a compact base takes none", remedy="remove Apply ControlNet", door="Load Anomaly LDM"
            )
        return self.unet.forward_concatenated(x, timesteps, context)


class CompactModel(comfy.model_base.BaseModel):
    """Gives the UNet mask and background where the sampled latent has a noise_mask, whichever sampler runs."""

    def __init__(self, base: CompactLDM, aware: bool, digest: str):
        config = comfy.supported_models_base.BASE({})
        config.unet_config = {"unet": base.unet, "context_dim": base.config.token_channels, "dtype": torch.float32}
        config.latent_format = CompactFormat(base)
        config.memory_usage_factor = 0.12  # measured: 167 MB at a latent of 192 x 192
        super().__init__(config, comfy.model_base.ModelType.V_PREDICTION, unet_model=CompactUNet)
        self.model_sampling.set_sigmas(ldm_sigmas())  # the table that the command line samples on, to the last bit
        self.aware, self.anomaly_digest = aware, digest
        self.anomaly_labels = base.config.labels
        self.anomaly_tokens = base.context(range(len(base.tokens))).detach().clone()
        self.anomaly_context, self.anomaly_resolution = base.context, base.config.resolution
        self.shown = base.shown

    def concat_cond(self, *, noise: Tensor, device, denoise_mask=None, latent_image=None, **_) -> Tensor:
        """Mask (-1 outside, 1 inside) and background, see `CompactLDM.shown`; zeros where there is none, or `aware` is
        off."""
        channels = torch.zeros_like(noise[:, :1], device=device), torch.zeros_like(noise, device=device)
        if self.aware and denoise_mask is not None and latent_image is not None:
            mask = denoise_mask[:, :1].to(device)
            channels = 2 * mask - 1, self.shown(mask, latent_image.to(device))
        return torch.cat(channels, dim=1)


class CompactAutoencoder(nn.Module):
    """The autoencoder as ComfyUI's VAE calls it: encoding gives the mean."""

    def __init__(self, autoencoder: nn.Module):
        super().__init__()
        self.autoencoder = _castable(autoencoder)

    def encode(self, pixels: Tensor, **_) -> Tensor:
        return self.autoencoder.encode(pixels)[0]

    def decode(self, latent: Tensor, **_) -> Tensor:
        return self.autoencoder.decode(latent)


def compact_model(base: CompactLDM, aware: bool = True, digest: str = "") -> comfy.model_patcher.ModelPatcher:
    """The base as a MODEL. `aware`: give it mask and background; False is the papers' unconditional LDM; `digest`: of
    its file, which adapters name their base by."""
    return comfy.model_patcher.ModelPatcher(
        CompactModel(base, aware, digest),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def compact_vae(base: CompactLDM) -> comfy.sd.VAE:
    """The base's autoencoder as a VAE."""
    # Core chooses a VAE's network from its tensors and does not know ours: the one that has no weights is replaced.
    vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=torch.float32)
    vae.first_stage_model = CompactAutoencoder(base.autoencoder).eval()
    vae.downscale_ratio = vae.upscale_ratio = RATIO
    vae.latent_channels = base.config.latent_channels
    vae.anomaly_latents = base.latent_mean.clone(), base.latent_std.clone()
    vae.process_input = lambda image: 2 * image - 1
    vae.process_output = lambda image: image.div_(2).add_(0.5).clamp_(0, 1)
    vae.disable_offload = True  # 3 MB: always moved as a whole
    # 64 floats for every pixel of the image; the measured peak is 32.
    vae.memory_used_encode = lambda shape, dtype: 4 * 64 * shape[2] * shape[3]
    vae.memory_used_decode = lambda shape, dtype: 4 * 64 * shape[2] * shape[3] * RATIO**2
    vae.patcher = comfy.model_patcher.ModelPatcher(
        vae.first_stage_model, load_device=vae.device, offload_device=comfy.model_management.vae_offload_device()
    )
    vae.size = comfy.model_management.module_size(vae.first_stage_model)
    return vae


def _castable(network: nn.Module) -> nn.Module:
    """Give torch's layers the classes of core's that cast their weights at use: core can then leave some of them in
    main memory, and run the rest in another precision."""
    for layer in network.modules():
        if type(layer).__module__.startswith("torch.nn."):
            layer.__class__ = getattr(comfy.ops.manual_cast, type(layer).__name__, type(layer))
    return network


def _rgb_factors(base: CompactLDM) -> Tensor:
    """[C + 1, 3]: the linear map from a normalised latent to colour in -1 .. 1 that is nearest to the decoder's."""
    latent = torch.randn(8, base.config.latent_channels, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        colour = F.avg_pool2d(base.decode(latent), RATIO) * 2 - 1
    known = latent.movedim(1, -1).reshape(-1, latent.shape[1])
    known = torch.cat([known, torch.ones(len(known), 1)], dim=1)
    return torch.linalg.lstsq(known, colour.movedim(1, -1).reshape(-1, 3)).solution


NODES = [LoadAnomalyLDM]
