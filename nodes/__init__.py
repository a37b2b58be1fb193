"""ComfyUI schemas and glue, one file per menu; the only room that imports ComfyUI."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import (
    baselines,
    dataset,
    evaluation,
    export,
    graded,
    inspection,
    loaders,
    make_defects,
    masks,
    nearest,
    refinement,
    sampling,
    training,
)
from .errors import door


class AnomalySynthesis(ComfyExtension):
    """The pack as ComfyUI sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every menu's nodes."""
        loaders.declare_folders()
        pairs = dataset, refinement, nearest, export, inspection
        menus = make_defects, loaders, masks, sampling, graded, training, *pairs, baselines, evaluation
        return [door(node) for menu in menus for node in menu.NODES]
