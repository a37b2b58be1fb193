"""EMA Mask Schedule, and its picture: the curve, and a mask at some levels of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from comfy_api.latest import io, ui
from torch import Tensor

from ..choices import SHAPES
from ..images.drawing import captioned, curves
from ..samplers.mask_schedule import MaskSchedule
from . import sockets
from .errors import answer
from .images import mask_batch
from .noise_levels import typed_levels
from .sockets import CATEGORY

LEVELS = "1000, 800, 600, 400, 200"
TILE, SPACE, COLUMNS = 100, 6, 5  # px of a mask and between two, masks per row


class EMAMaskSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_EMAMaskSchedule",
            display_name="EMA Mask Schedule",
            category=f"{CATEGORY}/sampling",
            description=(
                "STAGE's explicit mask alignment: at pure noise the mask is the whole map, and it closes to the "
                "defect's own as the noise falls, so that the defect grows out of its surroundings. Shows the curve, "
                "and the mask at the levels of your choice. For the graded diffusion nodes."
            ),
            inputs=[
                io.Float.Input(
                    "t_s",
                    default=200.0,
                    min=0.0,
                    max=999.0,
                    step=1.0,
                    tooltip="Noise level t from which on the mask is the defect's own: 999 is almost from the start, "
                    "0 never before the end. Default 200 (paper).",
                ),
                io.Combo.Input(
                    "shape",
                    options=list(SHAPES),
                    default="linear",
                    tooltip="How the mask closes from t = 1000 to t_s. linear (default, paper): evenly. cosine: slowly "
                    "at both ends.",
                ),
                io.String.Input(
                    "levels",
                    default=LEVELS,
                    tooltip="The t at which the picture shows the mask, 1000 noisiest, 0 finished; at most 20. Changes "
                    "the picture only.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="A mask to show at these levels, the first of a batch; without one the curve is shown "
                    "alone. Changes the picture only.",
                ),
            ],
            outputs=[
                sockets.MaskSchedule.Output(
                    "mask_schedule",
                    display_name="mask_schedule",
                    tooltip="For KSampler (Graded Diffusion) and Graded Diffusion Sampler.",
                ),
                io.Image.Output("picture", display_name="picture", tooltip="The curve, and the mask at the levels."),
            ],
        )

    @classmethod
    def validate_inputs(cls, levels=None):
        return answer(cls, typed_levels, levels)

    @classmethod
    def execute(cls, t_s: float, shape: str, levels: str, mask=None) -> io.NodeOutput:
        schedule = MaskSchedule(t_s, shape=shape)
        shown = schedule_picture(schedule, mask, typed_levels(levels))
        return io.NodeOutput(schedule, shown, ui=ui.PreviewImage(shown, cls=cls))


def schedule_picture(schedule: MaskSchedule, mask: Tensor | None, levels: Sequence[float]) -> Tensor:
    """[1, h, w, 3] in 0 .. 1: zeta over t, and below it Mp of the first mask at every level, where there is a mask.

    Args:
        mask: MASK, see `images.mask_batch`.
        levels: in t of 0 .. 1000.

    Raises:
        Refused: a mask of another shape, or not finite.
    """
    curve = [(t, schedule.zeta(t)) for t in range(schedule.timesteps + 1)]
    title = f"zeta(t): how far the mask is open ({schedule.shape}, t_s = {schedule.t_s:g})"
    sheet = curves({title: {"at pure noise": curve}})
    if mask is None:
        return sheet[None]
    shown = _row(_first(mask), schedule, levels, sheet.shape[1])
    return torch.cat([sheet, shown])[None]


def _first(mask: Tensor) -> Tensor:
    """The first mask of a batch, [H, W] in 0 .. 1 on the CPU."""
    return mask_batch(mask)[0].detach().float().cpu().clamp(0, 1)


def _row(mask: Tensor, schedule: MaskSchedule, levels: Sequence[float], width: int) -> Tensor:
    """Mp at the levels, COLUMNS beside each other, each with its t below: [h, width, 3]."""
    size = [round(TILE * side / max(mask.shape)) or 1 for side in mask.shape]
    small = F.adaptive_max_pool2d(mask[None, None], size)[0, 0]  # a defect of one pixel stays
    tiles = [schedule(small, t) for t in levels]
    return captioned(tiles, [f"t = {t:g}" for t in levels], COLUMNS, TILE + SPACE, width)


NODES = [EMAMaskSchedule]
