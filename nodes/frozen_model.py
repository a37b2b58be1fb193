"""Any MODEL of the host as an adapter's training sees it: a denoiser whose weights stay, in VP terms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import comfy.model_management
import comfy.model_patcher
import comfy.sampler_helpers
import comfy.samplers
import torch
from torch import Tensor, nn

from ..errors import Refused
from .conditioning import Conditioning, lengthened
from .noise_levels import flow_alpha, level_table, sigma_of

# What a step keeps for its gradients, over what the host reckons for a call without. Counted on meta tensors in half
# precision: SD 1.5 26 times (2.0 GB per image of 512 px), SDXL 40 times (10 GB per image of 1024 px).
GRADIENT_MEMORY = 40


class FrozenModel:
    """See `training.frozen.Frozen`; made by `frozen_model`."""

    def __init__(self, model, options: dict, tokens: Tensor, extras: dict):
        """
        Args:
            model: MODEL, loaded.
            options: its options as the host's samplers prepare them.
            tokens: [types, n, d] on the model's device; extras: what CONDITIONING holds beside them, a tensor of as
                many items as types being one per type.
        """
        self.inner, self.options, self.tokens, self.extras = model.model, options, tokens, extras
        self.network = model.model.diffusion_model
        self.halves = (self.inner.manual_cast_dtype or self.inner.get_dtype()) == torch.float16
        self.table = level_table(model).to(tokens.device)
        self.alpha = flow_alpha(model.get_model_object("model_sampling")) or (lambda sigma: torch.ones_like(sigma))
        self.latent_channels = model.get_model_object("latent_format").latent_channels
        self.token_channels = tokens.shape[-1]

    def level(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma, norm = self._scales(t)
        return alpha / norm, sigma / norm

    def context(self, rows: Tensor) -> Tensor:
        return self.tokens[rows.to(self.tokens.device)]

    def noise(self, x_vp: Tensor, t: Tensor, context: Tensor, mask: Tensor, background: Tensor, rows: Tensor) -> Tensor:
        alpha, sigma, norm = self._scales(t)
        x = x_vp * norm
        # Gradients of a mean over a whole map are too small for half precision: inside the model they are larger.
        scale = x.numel() / 8 if self.halves else 1.0
        x0 = self._denoised(_scaled(x, 1 / scale), sigma.flatten(), _scaled(context, 1 / scale), mask, background, rows)
        return (x - alpha * _scaled(x0, scale)) / sigma

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(alpha, sigma, their norm), [B, 1, 1, 1]."""
        sigma = sigma_of(self.table, t)[:, None, None, None]
        alpha = self.alpha(sigma)
        return alpha, sigma, (alpha**2 + sigma**2).sqrt()

    def _denoised(
        self, x: Tensor, sigma: Tensor, context: Tensor, mask: Tensor, background: Tensor, rows: Tensor
    ) -> Tensor:
        """The host's answer without guidance, in its own precision, given mask and background as when it samples."""
        types = len(self.tokens)
        extras = {
            key: value[rows.to(value.device)] if isinstance(value, Tensor) and len(value) == types > 1 else value
            for key, value in lengthened(self.extras, context.shape[1] - self.tokens.shape[1]).items()
        }
        if hasattr(self.inner, "anomaly_labels"):  # a compact base that edits would be shown the defect as its normal
            background = background * (1 - mask)
        conds = {"positive": comfy.sampler_helpers.convert_cond([[context, extras]])}
        conds = comfy.samplers.process_conds(self.inner, x, conds, x.device, background, mask)
        with torch.autocast(x.device.type, enabled=False):
            return comfy.samplers.calc_cond_batch(self.inner, [conds["positive"]], x, sigma, self.options)[0]


@contextmanager
def frozen_model(model, tokens: Tensor, extras: dict, shape: Sequence[int]) -> Iterator[FrozenModel]:
    """A MODEL loaded as a whole, and afterwards as it was found; to be entered outside of inference mode.

    Args:
        tokens, extras: see `FrozenModel`.
        shape: of a batch of latents that trains, for the memory that the host makes free.
    """
    if getattr(model, "is_dynamic", lambda: False)():  # its weights come and go, which gradients do not survive
        model = model.get_non_dynamic_delegate()
    options = comfy.model_patcher.create_model_options_clone(model.model_options)
    comfy.sampler_helpers.prepare_model_patcher(model, {}, options)
    comfy.model_management.load_models_gpu(
        [model, *model.get_nested_additional_models()],
        force_full_load=True,
        memory_required=GRADIENT_MEMORY * model.memory_required(list(shape)),
    )
    model.pre_run()
    learned = {name for name, weight in model.model.named_parameters() if weight.requires_grad}
    try:
        _leave_inference_mode(model.model.requires_grad_(False))
        yield FrozenModel(model, options, tokens.to(model.load_device), extras)
    finally:
        for name, weight in model.model.named_parameters():
            weight.requires_grad_(name in learned)
        model.cleanup()
        comfy.model_management.soft_empty_cache()


def base_tokens(model, types: Sequence[tuple[str, str]], conditioning: Conditioning | None) -> tuple[Tensor, dict]:
    """(tokens [types, n, d], extras): a compact base's own rows, or CONDITIONING of one item or one per type.

    Raises:
        Refused: no conditioning for a model that brings no tokens; types that a compact base does not know; a
            conditioning of several stages, or of another number of items.
    """
    if hasattr(model.model, "anomaly_tokens"):
        labels = model.model.anomaly_labels
        unknown = [" / ".join(type) for type in types if type not in labels]
        if unknown:
            raise Refused(
                "types",
                f"this base has no tokens for {', '.join(unknown)}",
                f"one of {', '.join(' / '.join(label) for label in labels)}",
                "choose its types in Split Defect Dataset",
            )
        return model.model.anomaly_tokens[[labels.index(type) for type in types]].clone(), {}
    if conditioning is None:
        raise Refused(
            "conditioning",
            "not connected, and this model brings no anomaly tokens, as a compact base does",
            remedy="connect conditioning, from Anomaly Conditioning with the CLIP of the model's checkpoint",
        )
    if len(conditioning) != 1 or len(conditioning[0][0]) not in (1, len(types)):
        raise Refused(
            "conditioning",
            f"{len(conditioning)} stages and {len(conditioning[0][0])} items for {len(types)} types "
            f"({', '.join(' / '.join(type) for type in types)})",
            "one item for all types, or one per type in this order, in one stage",
        )
    tokens, extras = conditioning[0]
    extras = {key: value.clone() if isinstance(value, Tensor) else value for key, value in extras.items()}
    return tokens.clone().float().expand(len(types), -1, -1), extras


def _scaled(x: Tensor, scale: float) -> Tensor:
    """x itself, with `scale` times its gradient."""
    if scale == 1 or not x.requires_grad:
        return x
    same = x.view_as(x)
    same.register_hook(lambda gradient: gradient * scale)
    return same


def _leave_inference_mode(module: nn.Module) -> None:
    """Copy what was made in the host's inference mode, which no gradient can pass; one tensor at a time."""
    copies: dict[int, Tensor] = {}
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, tensor in store.items():
                if tensor is None or not tensor.is_inference():
                    continue
                if id(tensor) not in copies:
                    copy = tensor.clone()
                    copies[id(tensor)] = nn.Parameter(copy, False) if isinstance(tensor, nn.Parameter) else copy
                store[name] = copies[id(tensor)]
