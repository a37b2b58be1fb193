"""Real training defects copied onto normal surface, with Poisson blending (Perez et al., SIGGRAPH 2003)."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import splu

from ..errors import Refused
from ..images.masks import mask_box
from ..images.pictures import Picture
from .blend import like, replaced, to_float

MARGIN = 1  # px of the defect's surroundings that come along, so that gradients at the mask's edge are the source's
TURNS = np.deg2rad(np.concatenate([[0.0], np.linspace(-15, 15, 61)]))  # what a placed mask may be turned by
_JUDGED = 2000  # mask pixels that a placement is judged by


def copy_paste(normal: Picture, mask: torch.Tensor, source: Picture, source_mask: torch.Tensor) -> Picture:
    """Fill the mask with a real defect, stretched from its own box to the mask's, blended seamlessly.

    The defect is mirrored and turned by up to 15 degrees where that lets more of the mask lie on it: a mask that
    `place_mask` made of the source's own gets its defect back.

    Args:
        mask: bool [H, W] on the normal picture, not empty.
        source, source_mask: a defect image of the training part and its mask.

    Raises:
        Refused: an empty mask, or a source's mask that is empty or of another size than the source.
    """
    if not source_mask.any() or source_mask.shape != source.size:
        raise Refused(
            "source",
            f"{source.size[0]} x {source.size[1]} (height x width), its mask {' x '.join(map(str, source_mask.shape))} "
            f"with {int(source_mask.sum())} pixels set",
            remedy="give the source's own mask with at least one",
        )
    values = to_float(normal)
    top, left, height, width = mask_box(mask)
    y0, x0 = max(top - MARGIN, 0), max(left - MARGIN, 0)
    y1, x1 = min(top + height + MARGIN, values.shape[0]), min(left + width + MARGIN, values.shape[1])
    target = mask[y0:y1, x0:x1].numpy()
    guide = like(_sampled(to_float(source), *_placed(source_mask.numpy(), target)), values.shape[2])
    filled = values.copy()
    filled[y0:y1, x0:x1] = poisson(values[y0:y1, x0:x1], guide, target)
    return replaced(normal, filled, mask.numpy())


def poisson(background: np.ndarray, guide: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[H, W, C] that is the background outside the mask and has the guide's gradients inside it.

    Solves the discrete Poisson equation with the background's values around the mask; at the picture's border nothing
    flows across. A mask of the whole picture has nothing around it: the background's mean is kept.
    """
    result = background.copy()
    if mask.all():
        result[:] = guide - guide.mean((0, 1)) + background.mean((0, 1))
        return result
    rows, columns = np.nonzero(mask)
    count = len(rows)
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(count)
    degree, right, links = np.zeros(count), np.zeros((count, background.shape[2])), []
    for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        r, c = rows + down, columns + across
        here = np.flatnonzero((r >= 0) & (r < mask.shape[0]) & (c >= 0) & (c < mask.shape[1]))
        r, c = r[here], c[here]
        degree[here] += 1
        right[here] += guide[rows[here], columns[here]] - guide[r, c]
        within = mask[r, c]
        right[here[~within]] += background[r[~within], c[~within]]
        links.append((here[within], number[r[within], c[within]]))
    i, j = (np.concatenate(side) for side in zip(*links, strict=True))
    matrix = diags(degree) - csr_matrix((np.ones(len(i)), (i, j)), (count, count))
    symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    result[mask] = splu(matrix.tocsc(), **symmetric).solve(right)
    return result


def _placed(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in the source each pixel of the target lies: (places [H, W, 2], source pixels per target pixel [2]).

    source, target: masks, boxes aligned; of all mirrorings and turns the one that puts most of the target's mask on
    the source's.
    """
    points, inside = np.argwhere(source), np.argwhere(target)
    judged = inside[:: -(-len(inside) // _JUDGED)]
    top, left, height, width = mask_box(torch.from_numpy(target))

    def look_up(pixels: np.ndarray, turn: float, box: np.ndarray, mirror: tuple[bool, bool]) -> np.ndarray:
        share = (pixels + 0.5 - (top, left)) / (height, width)
        return (box[0] + np.where(mirror, 1 - share, share) * (box[1] - box[0])) @ _axes(turn).T

    def met(way: tuple[float, np.ndarray, tuple[bool, bool]]) -> int:
        rows, columns = np.rint(look_up(judged, *way)).astype(int).clip(0, np.array(source.shape) - 1).T
        return int(source[rows, columns].sum())

    turned = [points @ _axes(turn) for turn in TURNS]
    boxes = [np.stack([q.min(0) - 0.5, q.max(0) + 0.5]) for q in turned]
    mirrors = list(product((False, True), repeat=2))
    best = max(((turn, box, mirror) for turn, box in zip(TURNS, boxes, strict=True) for mirror in mirrors), key=met)
    places = look_up(np.argwhere(np.ones_like(target)), *best).reshape(*target.shape, 2)
    return places, (best[1][1] - best[1][0]) / (height, width)


def _axes(turn: float) -> np.ndarray:
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def _sampled(values: np.ndarray, places: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Look values [H, W, C] up between pixels; blurred first where a step would skip some."""
    blur = np.maximum(steps - 1, 0) / 2
    planes = [gaussian_filter(plane, blur) if blur.any() else plane for plane in np.moveaxis(values, 2, 0)]
    rows, columns = np.moveaxis(places, 2, 0)
    return np.stack([map_coordinates(plane, (rows, columns), order=1, mode="nearest") for plane in planes], axis=2)
