"""MGA on a MODEL for the graded samplers: the heads that Apply MGA leaves there, and how every answer passes them."""

from __future__ import annotations

from collections.abc import Callable

from comfy.model_patcher import create_model_options_clone
from torch import Tensor

from ..errors import Refused
from ..modules.mga import MGA
from ..samplers.graded import Change
from .adapters import LoadedAdapter, check_fit, check_method

KEY = "sias_stage"  # of the additional models
WRAPPER = "model_function_wrapper"  # the host's name of its one hook around the model


def apply_mga(model, adapter: LoadedAdapter):
    """A clone of the MODEL that the graded samplers run with the adapter's heads; the host loads and offloads them.

    Raises:
        ValueError: an adapter of another method, or of another model.
    """
    node = "Apply MGA"
    check_method(node, adapter.adapter, "stage")
    check_fit(node, adapter, model)
    clone = model.clone()
    clone.set_additional_models(KEY, [adapter.patcher.clone()])
    return clone


def heads_of(patcher) -> tuple[MGA, MGA] | None:
    """The heads (aware, only) that Apply MGA left on a MODEL; None without."""
    found = patcher and patcher.get_additional_models_with_key(KEY)
    return found[0].model.branches if found else None


def headed(model_wrap) -> Callable[[Change], Callable[..., Tensor]]:
    """The `headed` of `sample_graded` for the host's guider: what the model answers to every conditioning, the
    unconditional one too, passes the change before the guider mixes them."""

    def with_change(change: Change) -> Callable[..., Tensor]:
        def model(x: Tensor, sigma: Tensor, **extra_args) -> Tensor:
            options = create_model_options_clone(extra_args["model_options"])
            before = options.get(WRAPPER)

            def answer(apply_model: Callable[..., Tensor], args: dict) -> Tensor:
                _check_whole(args["input"], x)
                if before:
                    return change(args["input"], before(apply_model, args))
                return change(args["input"], apply_model(args["input"], args["timestep"], **args["c"]))

            options[WRAPPER] = answer
            return model_wrap(x, sigma, **extra_args | {"model_options": options})

        return model

    return with_change


def _check_whole(part: Tensor, x: Tensor) -> None:
    if part.shape[1:] != x.shape[1:]:
        raise Refused(
            "conditioning",
            f"for an area of {part.shape[-2]} x {part.shape[-1]} cells, and the heads read the whole latent of "
            f"{x.shape[-2]} x {x.shape[-1]}",
            remedy="remove Conditioning (Set Area), or use Conditioning (Set Mask)",
        )
