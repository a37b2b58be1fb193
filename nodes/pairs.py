"""Pairs at the border: composed from decoded batches, and written into a folder of pairs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import comfy.model_management
import numpy as np
import torch
import torch.nn.functional as F
from comfy_api.latest import io, ui
from torch import Tensor

from ..datasets.known_pairs import KnownPairs
from ..datasets.pair_identity import pair_entries
from ..datasets.pairs import MANIFEST, PairWriter, check_names
from ..errors import Refused
from ..files.durable import write_atomic
from ..images.pictures import Picture
from ..images.windows import Window
from ..modules.base_file import file_digest
from ..synthesis.compose import Made, composed_picture, composed_values
from ..synthesis.labels import refined_mask
from ..synthesis.run import pair_record
from ..synthesis.scores import NOT_SCORED, Scores, scores_of
from ..synthesis.sheets import overlay
from ..synthesis.windows import Crop, check_windows, whole_images, window_of
from .errors import named
from .folders import writable_folder
from .graph_seeds import used_seeds
from .images import check_image, check_masks, repeated, to_batch, to_image, to_picture, with_masks
from .loaders import adapter_path, base_path
from .pair_counts import Counts
from .provenance import ADAPTER_INPUTS, ADAPTER_LOADERS, BASE_INPUTS, nearest, sampling_seed, settings

_log = logging.getLogger(__name__)
NOT_VISIBLE = ("keep", "drop")
SAME_WINDOW = 1e-4  # of 0 .. 1: what two decodings of one latent may differ by, far below a level of 8 bits


@dataclass(frozen=True, eq=False)
class Composing:
    """What Compose Pair was given beside a batch: its widgets, and the controls, as `composed` takes them."""

    mode: str
    feather: int
    visible_above: float
    controls: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Score(Scores):
    """What Compose Pair knows of a pair.

    visible: excess, or visibility without controls, is above the node's threshold; composing: how it was composed, None
    where not by that node; seed: it was sampled with, None where the graph tells it; refined: the search behind it, for
    the manifest, see `synthesis.refine`; blank: no window was changed before composing, as behind a bypassed sampler;
    refined_mask: bool [H, W], see `synthesis.labels`; None without controls.
    """

    visible: bool
    windows: tuple[Window, ...]
    composing: Composing | None = None
    seed: int | None = None
    refined: Mapping[str, Any] | None = None
    blank: bool = False
    refined_mask: np.ndarray | None = None

    def __repr__(self) -> str:
        """JSON: what ComfyUI's nodes that show any value as text show, and what `batch` reads entries from."""
        shown = {field.name: getattr(self, field.name) for field in fields(Score)}
        left_out = ("windows", "composing", "refined_mask")
        return json.dumps({name: value for name, value in shown.items() if name not in left_out})


@dataclass(frozen=True, eq=False)
class Batch:
    """Pairs that belong together: normals and images [B, H, W, 3], masks bool [H, W] each, scores or None."""

    normals: Tensor
    images: Tensor
    masks: list[Tensor]
    scores: Sequence[Score] | None

    @classmethod
    def checked(cls, node: str, normal: Tensor, image: Tensor, mask: Tensor, scores: Sequence[Score] | None) -> Batch:
        """From a node's sockets. Raises Refused where counts or sizes differ, for an empty mask, and for NaN."""
        image, normal = check_image(node, image), check_image(node, normal, "normal")
        if len(normal) == 1:
            image, _ = with_masks(node, image, mask)
        normal = repeated(node, normal, len(image), "normal")
        if normal.shape != image.shape:
            sizes = [" x ".join(map(str, t.shape[1:3])) for t in (normal, image)]
            raise Refused(
                "normal", f"{sizes[0]}, the image {sizes[1]} (height x width)", remedy="connect one size", door=node
            )
        if scores is not None and len(scores) != len(image):
            raise Refused(
                "scores",
                f"{len(scores)} scores for {len(image)} images",
                remedy="connect the same Compose Pair",
                door=node,
            )
        return cls(normal, image, check_masks(node, mask, image), scores)


def composed(
    normal: Tensor,
    masks: Sequence[Tensor],
    made: Tensor,
    roundtrip: Tensor,
    crop: Crop | None,
    mode: str,
    feather: int,
    visible_above: float,
    controls: Tensor | None = None,
) -> tuple[Tensor, list[Score]]:
    """Images [B, H, W, 3] with their anomalies, every value outside the masks untouched, and their scores.

    Args:
        normal: [B, H, W, 3]; masks: bool [H, W] each.
        made, roundtrip: decoded windows with anomaly and without, [P, h, w, 3].
        crop: which window is where; None where made and roundtrip are whole images.
        controls: the windows made again as normal surface at least twice, decoded, [k P, h, w, 3]: all P of them, and
            then all again; see `visibility.excess`.

    Raises:
        Refused: counts or sizes that do not fit together, values not finite.
    """
    crop = checked_crop("Compose Pair", normal, masks, crop)
    if made.shape != roundtrip.shape:
        raise Refused(
            "made",
            f"{list(made.shape)}, roundtrip {list(roundtrip.shape)}",
            remedy="decode both from latents of one size and batch",
            door="Compose Pair",
        )
    composing, times = Composing(mode, feather, visible_above, controls), _times(made, controls)
    made, roundtrip, *times = (t.permute(0, 3, 1, 2).cpu().float() for t in (made, roundtrip, *times))
    check_windows(made, crop)
    images, scores = [], []
    for item, mask in enumerate(masks):
        comfy.model_management.throw_exception_if_processing_interrupted()
        picture, parts = to_picture(normal[item]), _parts(crop, item, made, roundtrip)
        own = _control_values(picture, parts, [_parts(crop, item, again, roundtrip) for again in times], mode, feather)
        result = composed_picture(picture, parts, mode, feather)
        pair = scores_of(result, picture, parts, controls=own)
        image = normal[item].cpu().clone()
        image[mask] = to_image(result)[mask].to(image)
        images.append(image)
        windows = tuple(part.window for part, _ in parts)
        measured = {name: getattr(pair, name) for name in NOT_SCORED}
        counted, blank = pair.visibility if pair.excess is None else pair.excess, not any(map(_changed, parts))
        scores.append(
            Score(
                **measured,
                visible=counted > visible_above and not blank,
                windows=windows,
                composing=composing,
                blank=blank,
                refined_mask=None if own is None else refined_mask(result, parts, own),
            )
        )
    return to_batch(images), scores


def _changed(made: Made) -> bool:
    """Whether a part's window differs from the normal window in the mask, both decoded."""
    part, (anomalous, roundtrip) = made
    return bool((anomalous - roundtrip).abs().amax(0)[part.shown()].max() > SAME_WINDOW)


def checked_crop(node: str, normal: Tensor, masks: Sequence[Tensor], crop: Crop | None) -> Crop:
    """The crop of normals [B, H, W, 3] with their masks; None is whole images. Raises Refused for one of others."""
    crop = crop or whole_images(masks)
    if crop.items != len(normal) or crop.size != tuple(normal.shape[1:3]):
        raise Refused(
            "crop",
            f"of {crop.items} images of {crop.size[0]} x {crop.size[1]}, and {len(normal)} of {normal.shape[1]} x "
            f"{normal.shape[2]} are connected (height x width)",
            remedy="connect the images that were cropped",
            door=node,
        )
    if not all(torch.equal(crop.mask(item), mask) for item, mask in enumerate(masks)):
        raise Refused("mask", "not the one that Crop to Mask cut by", remedy="connect the same to both", door=node)
    return crop


def _times(made: Tensor, controls: Tensor | None) -> Sequence[Tensor]:
    """The controls of a batch, one batch of windows each time that they were made."""
    if controls is None:
        return ()
    count, rest = divmod(len(controls), len(made))
    if rest or count < 2 or controls.shape[1:] != made.shape[1:]:
        raise Refused(
            "controls",
            f"{list(controls.shape)}, made {list(made.shape)}",
            "the same windows two times or more",
            "put Repeat Latent Batch between Defect Latent and their sampler",
            "Compose Pair",
        )
    return controls.split(len(made))


def _control_values(
    picture: Picture, parts: Sequence[Made], times: Sequence[Sequence[Made]], mode: str, feather: int
) -> list[np.ndarray] | None:
    """Of every part its mask's pixels each time that it was made again, as `scores_of` takes them; None without."""
    if not times:
        return None
    return [
        composed_values(picture, part, [again[place][1][0] for again in times], roundtrip, mode, feather)
        for place, (part, (_, roundtrip)) in enumerate(parts)
    ]


def _parts(crop: Crop, item: int, made: Tensor, roundtrip: Tensor) -> list[Made]:
    """The parts of an item, with their windows out of decoded ones, [P, 3, h, w]."""
    return [
        (part, tuple(window_of(windows[place], part.window.resolution) for windows in (made, roundtrip)))
        for place, part in crop.of(item)
    ]


def save_pairs(
    folder: str, batch: Batch, objects: Sequence[str], types: Sequence[str], seed: int | None, not_visible: str, graph
) -> dict:
    """Append the pairs of a batch to a folder in MVTec layout below the host's output, and tell the host what to show.

    A pair that the folder holds already is not added again, see `datasets.known_pairs`. A blank one (see
    `datasets.pair_identity`) is left out, and with "drop" one that is not visible by its scores; each leaves a line in
    dropped.jsonl, as in `synthesis.run`, and one alone however often it comes.

    Args:
        not_visible: see `check_not_visible`; without scores nothing is left out by it.
        seed: of the batch's first item; where None, the graph's own, see `sampling_seed`.
        graph: what the host tells an output node: prompt, unique_id, extra_pnginfo.

    Raises:
        Refused: a folder outside the output, a name that is no file name, a folder that holds something else.
        OSError: the folder cannot be written; the pairs before stay whole.
    """
    check_not_visible(not_visible)
    root = pairs_folder(folder)
    with named("Save Pairs"):
        for object, type in zip(objects, types, strict=True):
            check_names(object=object, type=type)
        for object, type in dict.fromkeys(zip(objects, types, strict=True)):
            for part in ("train/good", "test/good", f"test/{type}", f"ground_truth/{type}"):
                pairs_folder(f"{folder}/{object}/{part}")  # a link there may lead out of the output
        writer, known = PairWriter(root, {"made_by": "Save Pairs"}, resume=True, growing=True), KnownPairs(root)
    prompt, node_id = graph.prompt or {}, graph.unique_id
    used = partial(used_seeds, prompt, count=len(objects))
    seed = sampling_seed(prompt, node_id, used) if seed is None else (lambda item, first=seed: first + item)
    # A node cannot know what the nodes before it took: no seconds.
    common = {
        "seconds": None,
        "base": _digest(nearest(prompt, node_id, BASE_INPUTS), base_path),
        "adapter": _adapters(prompt, node_id),
        "settings": settings(prompt, node_id),
    }
    counts, shown = Counts(), []
    for item, (image, mask, normal) in enumerate(zip(batch.images, batch.masks, batch.normals, strict=True)):
        object, type, index = objects[item], types[item], writer.done
        kept = to_picture(normal)
        picture, kept = _writable(to_picture(image, kept.pixels.dtype)), _writable(kept)
        values = mask.numpy()
        with named("Save Pairs"):
            change, content = pair_entries(picture, kept, values, object, type)
        record = _record(batch.scores and batch.scores[item], seed(item), content, common)
        counts.foreign += change.outside > 0
        counts.parted += 0 < change.unchanged < change.pieces
        if change.blank or (batch.scores is not None and batch.scores[item].blank):
            counts.blank, left_out = counts.blank + 1, True
            record |= {"changed": 0.0, "visible": False}
        else:
            there = known.find(picture, kept, values, object, type, record["seed"])
            if there:
                counts.there += 1
                shown.append(_shown(folder, there["image"]))
                continue
            left_out = not_visible == "drop" and record["visible"] is False
            counts.hidden += left_out
        if left_out:
            if not known.was_dropped(content["identity"]):
                with named("Save Pairs"):
                    writer.drop(index, {"object": object, "type": type} | record)
                known.note_dropped(content["identity"])
            continue
        with named("Save Pairs"):
            offset = (root / MANIFEST).stat().st_size if (root / MANIFEST).exists() else 0
            writer.write(
                index=index,
                object=object,
                type=type,
                stem=f"{index:06d}",
                mask=mask,
                picture=picture,
                normal_source=kept,
                record=record,
            )
        known.note(content["identity"], offset)
        counts.saved += 1
        shown.append(_shown(folder, f"{object}/test/{type}/{index:06d}.png"))
    workflow = (graph.extra_pnginfo or {}).get("workflow")
    if workflow is not None:
        write_atomic(root / "workflow.json", json.dumps(workflow).encode())
    unscored = not_visible == "drop" and batch.scores is None
    return ui.SavedImages(shown).as_dict() | {"text": counts.told(folder, unscored)}


def check_not_visible(not_visible: str) -> None:
    """Raise Refused for a choice that there is not; not every host checks a menu's value."""
    if not_visible not in NOT_VISIBLE:
        raise Refused("not_visible", repr(not_visible), f"one of {', '.join(NOT_VISIBLE)}", door="Save Pairs")


def _shown(folder: str, image: str) -> ui.SavedResult:
    """A saved pair's image for the host; `image`: its path below the folder."""
    path = Path(folder) / image
    return ui.SavedResult(path.name, path.parent.as_posix(), io.FolderType.output)


def overlays(batch: Batch) -> Tensor:
    """Every pair as one picture to check it by, [B, h, w, 3]; see `synthesis.sheets`."""
    sheets = [
        overlay(batch.normals[item].cpu(), batch.images[item].cpu(), mask, _label(batch.scores, item))
        for item, mask in enumerate(batch.masks)
    ]
    width = max(sheet.shape[1] for sheet in sheets)  # a label may be wider than narrow images
    return torch.stack([F.pad(sheet, (0, 0, 0, width - sheet.shape[1]), value=1.0) for sheet in sheets])


def _label(scores: Sequence[Score] | None, item: int) -> str:
    if scores is None:
        return "normal, result, mask"
    score = scores[item]
    near = "" if score.nearest_real is None else f"  nearest real {score.nearest_real:.2f}"
    flag = "" if score.visible else "  NOT VISIBLE"
    excess = "" if score.excess is None else f"  excess {score.excess:.2f}"
    return f"visibility {score.visibility:.2f}{excess}  contrast {score.contrast:+.2f}{near}{flag}"


def pairs_folder(folder: str) -> Path:
    """The folder of that name below the host's output. Raises Refused for one outside it."""
    return writable_folder("Save Pairs", folder)


def _record(score: Score | None, seed: int | None, content: Mapping[str, Any], common: Mapping[str, Any]) -> dict:
    """The entries of a pair's line, in the order that the lines of such a folder have always had."""
    record = pair_record(
        score,
        seed=seed if score is None or score.seed is None else score.seed,  # of the draw that Refine Pairs kept
        visible=score and score.visible,
        content=content,
        windows=score and score.windows,
        refined=score and score.refined,
        **common,
    )
    first = ("seed", *content, *NOT_SCORED, "visible", "windows", "refined")
    return {key: record[key] for key in (*first, *record) if key in record}


def _adapters(prompt: Mapping[str, Any], node_id: str) -> str | None:
    """The digests of all adapters that a pair depends on, as the command line writes them: FAST's before STAGE's."""
    digests = [
        _digest(nearest(prompt, node_id, ADAPTER_INPUTS, loader), partial(adapter_path, method=method))
        for method, loader in ADAPTER_LOADERS.items()
    ]
    return "+".join(filter(None, digests)) or None


def _digest(name: str | None, path_of: Callable[[str], Path]) -> str | None:
    """The digest of a base's or an adapter's file, as the command line writes it; any other checkpoint's name."""
    try:
        return file_digest(path_of(name)) if name else None
    except ValueError:
        return name


def _writable(picture: Picture) -> Picture:
    """16-bit colour cannot be written to PNG here: 8 bit, with a notice."""
    if picture.pixels.dtype.itemsize == 2 and picture.pixels.shape[2] == 3:
        _log.warning("Save Pairs: colour values between the 256 levels of a PNG are rounded to them.")
        return picture.with_pixels(((picture.pixels.astype("uint32") + 128) // 257).astype("uint8"))
    return picture
