"""Menu "loaders"."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..errors import Refused
from .sockets import CATEGORY, Adapter

FOLDER, ADAPTERS = "anomaly_bases", "anomaly_adapters"
BUNDLED, GENERAL = "surfaces (bundled)", "general (bundled)"
_WEIGHTS = Path(__file__).parent.parent / "weights"
_BASES = {GENERAL: "general.safetensors", BUNDLED: "surfaces.safetensors"}


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
                    label_on="told mask and background",
                    label_off="unconditional (papers)",
                    tooltip="On (default): the model is told where the defect goes and what surrounds it. Off: it is "
                    "the unconditional model of the papers, held by the background alone.",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="The denoiser, v-prediction; any sampler."),
                io.Vae.Output("vae", display_name="vae", tooltip="Its autoencoder, factor 4."),
                io.Int.Output(
                    "resolution",
                    display_name="resolution",
                    tooltip="Side in pixels that it was trained at; connect it to Crop to Mask.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, base_name):
        try:
            if base_name is not None:  # None: another node will tell it
                base_path(base_name)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, base_name, aware):
        if base_name is None:
            return None
        status = base_path(base_name).stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def execute(cls, base_name: str, aware: bool) -> io.NodeOutput:
        from ..modules.base_file import file_digest, load_base
        from .compact_model import compact_model, compact_vae
        from .errors import named

        path = base_path(base_name)
        with named("Load Anomaly LDM"):
            base, _ = load_base(path)
        return io.NodeOutput(compact_model(base, aware, file_digest(path)), compact_vae(base), base.config.resolution)


class _LoadAdapter(io.ComfyNode):
    """What the loaders of both methods share; METHOD is "fast" or "stage"."""

    METHOD: str

    @classmethod
    def validate_inputs(cls, adapter_name):
        try:
            if adapter_name is not None:  # None: another node will tell it
                adapter_path(adapter_name, cls.METHOD)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, adapter_name):
        if adapter_name is None:
            return None
        status = adapter_path(adapter_name, cls.METHOD).stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def execute(cls, adapter_name: str) -> io.NodeOutput:
        from .adapters import load

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
        outputs=[Adapter.Output("adapter", display_name="adapter", tooltip=use)],
    )


def declare_folders() -> None:
    """Make models/anomaly_bases and models/anomaly_adapters known to the host, .safetensors only."""
    for name in (FOLDER, ADAPTERS):
        folder = os.path.join(folder_paths.models_dir, name)
        paths, suffixes = folder_paths.folder_names_and_paths.get(name, ([], set()))
        paths = paths if folder in paths else [*paths, folder]
        folder_paths.folder_names_and_paths[name] = (paths, set(suffixes) | {".safetensors"})


def base_names() -> list[str]:
    """What the menu offers: the bundled bases, then the files of models/anomaly_bases."""
    return [*_BASES, *folder_paths.get_filename_list(FOLDER)]


def base_path(name: str) -> Path:
    """The file of a base. Raises ValueError with the folders searched where there is none."""
    if name in _BASES:
        return _WEIGHTS / _BASES[name]
    path = folder_paths.get_full_path(FOLDER, name)
    if path is None:
        searched = ", ".join(folder_paths.get_folder_paths(FOLDER))
        raise Refused(
            "base_name",
            f"no base {name!r} in {FOLDER} (searched: {searched})",
            remedy=f"put the .safetensors there, or choose {BUNDLED!r}",
            door="Load Anomaly LDM",
        )
    return Path(path)


def adapter_names() -> list[str]:
    """What the menu offers: the bundled adapter, then the files of models/anomaly_adapters."""
    return [BUNDLED, *folder_paths.get_filename_list(ADAPTERS)]


def adapter_path(name: str, method: str) -> Path:
    """The file of an adapter of a method ("fast" or "stage"). Raises ValueError with the folders searched where there
    is none."""
    if name == BUNDLED:
        return _WEIGHTS / f"surfaces-{method}.safetensors"
    path = folder_paths.get_full_path(ADAPTERS, name)
    if path is None:
        searched, method = ", ".join(folder_paths.get_folder_paths(ADAPTERS)), method.upper()
        raise Refused(
            "adapter_name",
            f"no adapter {name!r} in {ADAPTERS} (searched: {searched})",
            remedy=f"put the .safetensors there, train one with Train {method} Adapter and save it, or choose "
            f"{BUNDLED!r}",
            door=f"Load {method} Adapter",
        )
    return Path(path)


NODES = [LoadAnomalyLDM, LoadFASTAdapter, LoadSTAGEAdapter]
