"""Starts a host in this process, on the CPU and on one thread, and loads the pack as core does.

The host reads its options while it is imported, so importing this module is enough. Nothing is written into the
host's own folders: input, output and the bases are in a folder that is removed when the process ends.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
HOST, REPOSITORY = sys.argv[1:3]
sys.path.insert(0, HOST)
sys.argv = sys.argv[:1]

import comfy.cli_args  # noqa: E402

comfy.cli_args.args.cpu = True

import folder_paths  # noqa: E402
import torch  # noqa: E402

import nodes  # noqa: E402

torch.set_num_threads(1)
SCRATCH = Path(tempfile.mkdtemp(prefix="anomaly_synthesis_"))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
INPUT, OUTPUT, TEMPORARY, BASES = (SCRATCH / name for name in ("input", "output", "temp", "bases"))
for folder in (INPUT, OUTPUT, TEMPORARY, BASES):
    folder.mkdir()
folder_paths.set_input_directory(str(INPUT))
folder_paths.set_output_directory(str(OUTPUT))
folder_paths.set_temp_directory(str(TEMPORARY))
if not asyncio.run(nodes.load_custom_node(REPOSITORY)):
    sys.exit("ComfyUI could not load the pack")
folder_paths.folder_names_and_paths["anomaly_bases"] = ([str(BASES)], {".safetensors"})
_pack = next(m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == f"{REPOSITORY}/__init__.py")


def room(name: str) -> ModuleType:
    """A module of the pack, such as "synthesis.pair", as the host loaded it."""
    return importlib.import_module(f"{_pack.__name__}.{name}")


def call(node: str | type, **inputs: Any) -> tuple:
    """The outputs of a node: "LoadAnomalyLDM" of this pack, or a class of core's (V1 in one host is V3 in another)."""
    if isinstance(node, str):
        node = own(node)
    if not hasattr(node, "execute"):
        return getattr(node(), node.FUNCTION)(**inputs)
    return node.execute(**inputs).args


def own(name: str) -> type:
    """The class of a node of this pack, such as "LoadAnomalyLDM"."""
    node = nodes.NODE_CLASS_MAPPINGS[f"SIAS_{name}"]
    node.GET_SCHEMA()  # core asks for it before it runs a node
    return node
