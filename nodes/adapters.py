"""Load and Save FAST or STAGE Adapter: files, the model they fit, and modules as ComfyUI loads and offloads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import folder_paths
from comfy_api.latest import io, ui

from ..errors import Refused
from ..modules.adapter_file import Adapter, Fit, load_adapter, save_adapter
from ..modules.fast import FastModules
from ..modules.stage import StageModules
from ..synthesis.adapters import modules_of
from . import sockets
from .errors import answer
from .folders import ADAPTERS, BUNDLED, WEIGHTS, model_files, writing_models
from .sockets import CATEGORY


class _LoadAdapter(io.ComfyNode):
    """What the loaders of both methods share; METHOD is "fast" or "stage"."""

    METHOD: str

    @classmethod
    def validate_inputs(cls, adapter_name):
        return answer(cls, adapter_path, adapter_name, cls.METHOD)

    @classmethod
    def fingerprint_inputs(cls, adapter_name):
        if adapter_name is None:
            return None
        status = adapter_path(adapter_name, cls.METHOD).stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def execute(cls, adapter_name: str) -> io.NodeOutput:
        return io.NodeOutput(load(adapter_name, cls.METHOD))


class LoadFASTAdapter(_LoadAdapter):
    METHOD = "fast"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return _loading("FAST", "anomaly tokens and FARM", "For Apply FARM and Anomaly Tokens.")


class LoadSTAGEAdapter(_LoadAdapter):
    METHOD = "stage"

    @classmethod
    def define_schema(cls) -> io.Schema:
        use = "For Apply MGA, Anomaly Tokens and Train STAGE Adapter's tokens_of."
        return _loading("STAGE", "anomaly tokens and both MGA heads", use)


class SaveFASTAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return _saving("FAST", "fast")

    @classmethod
    def execute(cls, adapter, name: str) -> io.NodeOutput:
        file = save(adapter, name, "fast")
        return io.NodeOutput(file, ui=ui.PreviewText(file))


class SaveSTAGEAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return _saving("STAGE", "stage")

    @classmethod
    def execute(cls, adapter, name: str) -> io.NodeOutput:
        file = save(adapter, name, "stage")
        return io.NodeOutput(file, ui=ui.PreviewText(file))


def _loading(method: str, parts: str, use: str) -> io.Schema:
    return io.Schema(
        node_id=f"SIAS_Load{method}Adapter",
        display_name=f"Load {method} Adapter",
        category=f"{CATEGORY}/loaders",
        description=(
            f"Loads what Train {method} Adapter, or `anomaly-synthesis train --method {method.lower()}`, made of your "
            f"defects: {parts}, for the one model that it was trained on."
        ),
        inputs=[
            io.Combo.Input(
                "adapter_name",
                options=adapter_names(),
                default=BUNDLED,
                tooltip=f"A .safetensors in models/anomaly_adapters, where Save {method} Adapter writes. The bundled "
                "one is for the bundled base and its procedural surfaces, for trying the nodes.",
            )
        ],
        outputs=[sockets.Adapter.Output("adapter", display_name="adapter", tooltip=use)],
    )


def _saving(method: str, name: str) -> io.Schema:
    """name: of the file, where the user gives no other."""
    return io.Schema(
        node_id=f"SIAS_Save{method}Adapter",
        display_name=f"Save {method} Adapter",
        category=f"{CATEGORY}/training",
        description=(
            f"Writes an adapter to models/anomaly_adapters, for Load {method} Adapter and for `anomaly-synthesis "
            "synthesize --adapter`. A file that is there stays: the new one gets a number."
        ),
        inputs=[
            sockets.Adapter.Input("adapter", tooltip=f"From Train {method} Adapter."),
            io.String.Input(
                "name",
                default=name,
                tooltip="Name of the file, without .safetensors, with folders if you like. Default "
                f"'{name}'; where it is taken, {name}_00002 and so on.",
            ),
        ],
        outputs=[
            io.String.Output(
                "file",
                display_name="file",
                tooltip=f"The name that was written, as Load {method} Adapter lists it after a refresh (R).",
            )
        ],
        is_output_node=True,
    )


def adapter_names() -> list[str]:
    """What the menu offers: the bundled adapter, then the files of models/anomaly_adapters."""
    return [BUNDLED, *folder_paths.get_filename_list(ADAPTERS)]


def adapter_path(name: str, method: str) -> Path:
    """The file of an adapter of a method ("fast" or "stage"). Raises Refused with the folders searched where there
    is none."""
    if name == BUNDLED:
        return WEIGHTS / f"surfaces-{method}.safetensors"
    path = folder_paths.get_full_path(ADAPTERS, name)
    if path is None:
        searched, method = ", ".join(folder_paths.get_folder_paths(ADAPTERS)), method.upper()
        raise Refused(
            "adapter_name",
            f"no adapter {name!r} in {ADAPTERS} (searched: {searched})",
            remedy=f"put the .safetensors there, train one with Train {method} Adapter and save it, or choose "
            f"{BUNDLED!r}",
        )
    return Path(path)


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


def loaded(name: str, adapter: Adapter) -> LoadedAdapter:
    """Raises Refused for an adapter that is not whole."""
    modules = modules_of(adapter)
    patcher = comfy.model_patcher.ModelPatcher(
        modules,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    return LoadedAdapter(name, adapter, patcher)


def load(name: str, method: str) -> LoadedAdapter:
    """The adapter of a file of models/anomaly_adapters. Raises Refused for anything else.

    Args:
        method: "fast" or "stage".
    """
    path = adapter_path(name, method)
    try:
        adapter = load_adapter(path)
    except Refused as error:
        raise error.of(name) from error  # the name in the menu, not the path
    check_method(adapter, method)
    return loaded(name, adapter)


def check_method(adapter: Adapter, method: str) -> None:
    """Raise Refused for an adapter of another method."""
    if adapter.method != method:
        found, wanted = adapter.method.upper(), method.upper()
        raise Refused("adapter", f"one of {found}", f"one of {wanted}", f"give one from Load {wanted} Adapter")


def save(adapter: LoadedAdapter, name: str, method: str) -> str:
    """Write to models/anomaly_adapters under the first free name: name.safetensors, name_00002.safetensors, ...

    Args:
        method: "fast" or "stage".

    Returns:
        the file's name, as Load FAST Adapter or Load STAGE Adapter lists it.

    Raises:
        Refused: an adapter of another method, a name outside of that folder, or a folder that cannot be written.
    """
    check_method(adapter.adapter, method)
    root, files = model_files(ADAPTERS, name)
    with writing_models(ADAPTERS, name):
        free = next(file for file in files if not file.exists())
        free.parent.mkdir(parents=True, exist_ok=True)
        save_adapter(free, adapter.adapter)
    return str(free.relative_to(root))


def fit_of(model, token_channels: int = 0) -> Fit:
    """What an adapter of a MODEL must fit.

    Args:
        token_channels: of its conditioning, where the model does not say; 0 is unknown.
    """
    inner, sampling = model.model, model.get_model_object("model_sampling")
    width = inner.model_config.unet_config.get("context_dim")
    flow, v = (isinstance(sampling, kind) for kind in (comfy.model_sampling.CONST, comfy.model_sampling.V_PREDICTION))
    return Fit(
        kind="CompactLDM" if hasattr(inner, "anomaly_tokens") else type(inner.model_config).__name__,
        digest=getattr(inner, "anomaly_digest", ""),
        latent_channels=model.get_model_object("latent_format").latent_channels,
        token_channels=width if isinstance(width, int) and width > 1 else token_channels,
        prediction="flow" if flow else "v" if v else "eps",
    )


def check_fit(adapter: LoadedAdapter, model) -> None:
    """Raise Refused for an adapter of another model, with what differs; what one side does not know is not asked."""
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
        )


def token_rows(adapter: LoadedAdapter, objects: Sequence[str], types: Sequence[str]) -> list[int]:
    """The adapter's row for every item. Raises Refused for a type that it was not trained on."""
    return [adapter.modules.tokens.row(object, type) for object, type in zip(objects, types, strict=True)]


NODES = [LoadFASTAdapter, LoadSTAGEAdapter, SaveFASTAdapter, SaveSTAGEAdapter]
