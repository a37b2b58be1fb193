"""Adapters inside the host: their files, what they fit, and their modules as the host loads and offloads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import folder_paths

from ..errors import Refused
from ..modules.adapter_file import Adapter, Fit, load_adapter, save_adapter
from ..modules.fast import FastModules
from ..modules.stage import StageModules
from ..synthesis.adapters import modules_of
from .errors import named
from .folders import resolved
from .loaders import ADAPTERS, adapter_path


@dataclass(frozen=True, eq=False)
class LoadedAdapter:
    """name: of its file, or what errors call it; adapter: as its file holds it; patcher: ModelPatcher of its
    modules."""

    name: str
    adapter: Adapter
    patcher: comfy.model_patcher.ModelPatcher

    @property
    def modules(self) -> FastModules | StageModules:
        return self.patcher.model


def loaded(node: str, name: str, adapter: Adapter) -> LoadedAdapter:
    """Raises ValueError for an adapter that is not whole."""
    with named(node):
        modules = modules_of(adapter)
    patcher = comfy.model_patcher.ModelPatcher(
        modules,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    return LoadedAdapter(name, adapter, patcher)


def load(name: str, method: str) -> LoadedAdapter:
    """The adapter of a file of models/anomaly_adapters. Raises ValueError for anything else.

    Args:
        method: "fast" or "stage".
    """
    node = f"Load {method.upper()} Adapter"
    with named(node):
        adapter = load_adapter(adapter_path(name, method))
    check_method(node, adapter, method)
    return loaded(node, name, adapter)


def check_method(node: str, adapter: Adapter, method: str) -> None:
    """Raise ValueError for an adapter of another method."""
    if adapter.method != method:
        found, wanted = adapter.method.upper(), method.upper()
        raise Refused("adapter", f"one of {found}", f"one of {wanted}", f"give one from Load {wanted} Adapter", node)


def save(adapter: LoadedAdapter, name: str, method: str) -> str:
    """Write to models/anomaly_adapters under the first free name: name.safetensors, name_00002.safetensors, ...

    Args:
        method: "fast" or "stage".

    Returns:
        the file's name, as Load FAST Adapter or Load STAGE Adapter lists it.

    Raises:
        ValueError: an adapter of another method, a name outside of that folder, or a folder that cannot be written.
    """
    node = f"Save {method.upper()} Adapter"
    check_method(node, adapter.adapter, method)
    root = Path(folder_paths.get_folder_paths(ADAPTERS)[0])
    wanted = name.strip().removesuffix(".safetensors")
    path = resolved(root, wanted)
    if not Path(wanted).name or path is None or path == root.resolve() or not path.is_relative_to(root.resolve()):
        raise Refused("name", f"{name!r} is not below {root}", "a file's name, with folders if you like", door=node)
    numbered = (wanted if number == 1 else f"{wanted}_{number:05d}" for number in count(1))
    try:
        free = next(file for one in numbered if not (file := root / f"{one}.safetensors").exists())
        free.parent.mkdir(parents=True, exist_ok=True)
        save_adapter(free, adapter.adapter)
    except OSError as error:
        raise Refused(
            "name",
            f"cannot write {name!r} to {root} ({error.strerror})",
            remedy="give ComfyUI the right to write there, or add another folder for "
            f"{ADAPTERS} in extra_model_paths.yaml",
            door=node,
        ) from error
    return str(free.relative_to(root))


def fit_of(model, token_channels: int = 0) -> Fit:
    """What an adapter of a MODEL must fit.

    Args:
        token_channels: of its conditioning, where the model does not tell; 0 is unknown.
    """
    inner, sampling = model.model, model.get_model_object("model_sampling")
    told = inner.model_config.unet_config.get("context_dim")
    flow, v = (isinstance(sampling, kind) for kind in (comfy.model_sampling.CONST, comfy.model_sampling.V_PREDICTION))
    return Fit(
        kind="CompactLDM" if hasattr(inner, "anomaly_tokens") else type(inner.model_config).__name__,
        digest=getattr(inner, "anomaly_digest", ""),
        latent_channels=model.get_model_object("latent_format").latent_channels,
        token_channels=told if isinstance(told, int) and told > 1 else token_channels,
        prediction="flow" if flow else "v" if v else "eps",
    )


def check_fit(node: str, adapter: LoadedAdapter, model) -> None:
    """Raise ValueError for an adapter of another model, with what differs; what one side does not know is not asked."""
    wanted, found = asdict(adapter.adapter.base), asdict(fit_of(model))
    wrong = [
        f"{name} {wanted[name]}, this model has {found[name]}"
        for name in wanted
        if wanted[name] != found[name] and wanted[name] and found[name]
    ]
    if wrong:
        raise Refused(
            "adapter",
            f"{adapter.name} was trained for another model ({'; '.join(wrong)})",
            remedy="load that one, or train an adapter on this one",
            door=node,
        )


def token_rows(node: str, adapter: LoadedAdapter, objects: Sequence[str], types: Sequence[str]) -> list[int]:
    """The adapter's row for every item. Raises ValueError for a type that it was not trained on."""
    with named(node):
        return [adapter.modules.tokens.row(object, type) for object, type in zip(objects, types, strict=True)]
