"""ComfyUI schemas and glue, one file per subject; the only room that imports ComfyUI."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import (
    adapters,
    aias,
    baselines,
    batch_plan,
    compact_base,
    compose,
    conditioning,
    dataset,
    export,
    fast,
    graded,
    inspection,
    latents,
    make_defects,
    mask_schedule,
    masks,
    nearest,
    pair_statistics,
    pairs,
    refine,
    segmentation,
    split_dataset,
    stage,
    train_base,
    training,
)
from .errors import door
from .folders import declare_folders

# In the order of a graph: load, mask, sample, train, read, check and write pairs, evaluate.
SUBJECTS = (
    make_defects,
    compact_base,
    adapters,
    masks,
    conditioning,
    latents,
    aias,
    graded,
    mask_schedule,
    fast,
    stage,
    train_base,
    training,
    dataset,
    batch_plan,
    split_dataset,
    inspection,
    compose,
    pairs,
    nearest,
    refine,
    export,
    baselines,
    segmentation,
    pair_statistics,
)


class AnomalySynthesis(ComfyExtension):
    """The pack as ComfyUI sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The nodes of every subject."""
        declare_folders()
        return [door(node) for subject in SUBJECTS for node in subject.NODES]
