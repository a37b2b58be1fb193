"""Save Pairs: pairs written into a folder of pairs, and that folder read again by other nodes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from comfy_api.latest import io, ui

from ..datasets.known_pairs import KnownPairs
from ..datasets.mvtec import read_mvtec
from ..datasets.pair_identity import pair_entries
from ..datasets.pairs import MANIFEST, REFINED, PairWriter, check_names
from ..datasets.sample import Sample
from ..errors import Refused
from ..files.durable import write_atomic
from ..images.pictures import Picture
from ..modules.base_file import file_digest
from ..synthesis.run import pair_record
from ..synthesis.scores import NOT_SCORED
from . import sockets
from .adapters import adapter_path
from .compact_base import base_path
from .compose import Batch, Score
from .dataset import fingerprint
from .errors import answer
from .folders import check_links, read_roots, writable_folder
from .images import lines, to_picture
from .provenance import ADAPTER_INPUTS, ADAPTER_LOADERS, BASE_INPUTS, nearest, sampling_seed, settings, used_seeds
from .sockets import CATEGORY
from .split_dataset import Dataset

_log = logging.getLogger(__name__)
NOT_VISIBLE = ("keep", "drop")
LEAVE_OUT = NOT_VISIBLE[1]


class SavePairs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_SavePairs",
            display_name="Save Pairs",
            category=f"{CATEGORY}/dataset",
            description=(
                "Appends pairs to a folder in MVTec layout below ComfyUI's output: image, mask, normal image, and a "
                "line of manifest.jsonl with seed, visibility and every widget that made it. A pair is written whole "
                "or not at all, and once: what the folder holds already is not added again. Blank pairs, whose image "
                "equals the normal image in the mask, are left out, and so are those that are not visible."
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The images with their anomalies: PNG, in the normal image's depth, "
                    "grey where they are grey.",
                ),
                io.Mask.Input("mask", tooltip="Their masks, of the same size; an empty one is refused."),
                io.Image.Input("normal", tooltip="Their normal images, saved once as <object>/train/good."),
                io.String.Input(
                    "object",
                    default="object",
                    multiline=True,
                    tooltip="The object's folder; one line for all, or one per image.",
                ),
                io.String.Input(
                    "type",
                    default="anomaly",
                    multiline=True,
                    tooltip="The defect type's folder; one line for all, or one per image.",
                ),
                io.String.Input(
                    "folder",
                    default="pairs",
                    tooltip="Folder below ComfyUI's output. Pairs are added to those that are there.",
                ),
                sockets.Scores.Input(
                    "scores",
                    optional=True,
                    tooltip="From Compose Pair or Nearest Real Defect, for the manifest. With Compose Pair's controls "
                    "refined masks are saved, too.",
                ),
                io.Int.Input(
                    "seed",
                    optional=True,
                    force_input=True,
                    tooltip="Seed of the first image, where another node computes it; else it is found.",
                ),
                io.Combo.Input(
                    "not_visible",
                    options=list(NOT_VISIBLE),
                    default=LEAVE_OUT,
                    optional=True,
                    tooltip="Pairs that are not visible by their scores. drop (default): left out, with a line in "
                    "dropped.jsonl. keep: saved, with visible false in the manifest. Blank pairs are left out either "
                    "way.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "pairs_folder",
                    display_name="folder",
                    tooltip="The folder, for Train Segmenter and Pair Statistics: they then wait "
                    "until the pairs are saved.",
                )
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, not_visible=LEAVE_OUT):
        return answer(cls, check_not_visible, not_visible)

    @classmethod
    def execute(
        cls,
        image,
        mask,
        normal,
        object: str,
        type: str,
        folder: str,
        scores=None,
        seed: int | None = None,
        not_visible: str = LEAVE_OUT,
    ) -> io.NodeOutput:
        batch = Batch.checked(normal, image, mask, scores)
        count = len(batch.images)
        names = [lines(text, count, what) for text, what in ((object, "object"), (type, "type"))]
        return io.NodeOutput(folder, ui=save_pairs(folder, batch, *names, seed, not_visible, cls.hidden))


def save_pairs(
    folder: str, batch: Batch, objects: Sequence[str], types: Sequence[str], seed: int | None, not_visible: str, graph
) -> dict:
    """Append the pairs of a batch to a folder in MVTec layout below the host's output, and return what the host shows.

    A pair that the folder holds already is not added again, see `datasets.known_pairs`. A blank one (see
    `datasets.pair_identity`) is left out, and with "drop" one that is not visible by its scores; each leaves a line in
    dropped.jsonl, as in `synthesis.run`, and one alone however often it comes.

    Args:
        not_visible: see `check_not_visible`; without scores nothing is left out by it.
        seed: of the batch's first item; where None, the graph's own, see `sampling_seed`.
        graph: what the host passes to an output node: prompt, unique_id, extra_pnginfo.

    Raises:
        Refused: a folder outside the output, a name that is no file name, a folder that holds something else.
        OSError: the folder cannot be written; the pairs before stay whole.
    """
    check_not_visible(not_visible)
    root = pairs_folder(folder)
    for object, type in zip(objects, types, strict=True):
        check_names(object=object, type=type)
    for object, type in dict.fromkeys(zip(objects, types, strict=True)):
        for part in ("train/good", "test/good", f"test/{type}", f"ground_truth/{type}", f"{REFINED}/{type}"):
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
                writer.drop(index, {"object": object, "type": type} | record)
                known.note_dropped(content["identity"])
            continue
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
            refined_mask=_refined_mask(batch.scores and batch.scores[item], values),
        )
        known.note(content["identity"], offset)
        counts.saved += 1
        shown.append(_shown(folder, f"{object}/test/{type}/{index:06d}.png"))
    workflow = (graph.extra_pnginfo or {}).get("workflow")
    if workflow is not None:
        write_atomic(root / "workflow.json", json.dumps(workflow).encode())
    unscored = not_visible == "drop" and batch.scores is None
    return ui.SavedImages(shown).as_dict() | {"text": counts.in_words(folder, unscored)}


def check_not_visible(not_visible: str) -> None:
    """Raise Refused for a choice that there is not; not every host checks a menu's value."""
    if not_visible not in NOT_VISIBLE:
        raise Refused("not_visible", repr(not_visible), f"one of {', '.join(NOT_VISIBLE)}")


def _shown(folder: str, image: str) -> ui.SavedResult:
    """A saved pair's image for the host; `image`: its path below the folder."""
    path = Path(folder) / image
    return ui.SavedResult(path.name, path.parent.as_posix(), io.FolderType.output)


def pairs_folder(folder: str) -> Path:
    """The folder of that name below the host's output. Raises Refused for one outside it."""
    return writable_folder(folder)


def _record(score: Score | None, seed: int | None, content: Mapping[str, Any], common: Mapping[str, Any]) -> dict:
    """The entries of a pair's line, in the order that the lines of such a folder have always had."""
    record = pair_record(
        score,
        seed=seed if score is None or score.seed is None else score.seed,  # of the draw that Refine Pairs kept
        visible=score and score.visible,
        content=content,
        windows=score and score.windows,
        search=score and score.search,
        **common,
    )
    first = ("seed", *content, *NOT_SCORED, "visible", "windows", "refined")
    return {key: record[key] for key in (*first, *record) if key in record}


def _refined_mask(score: Score | None, mask: np.ndarray) -> np.ndarray | None:
    """The score's refined mask within the mask that is saved, which need not be Compose Pair's."""
    refined = score and score.refined_mask
    return None if refined is None or refined.shape != mask.shape else refined & mask


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


@dataclass
class Counts:
    """What became of a batch's pairs; foreign: differ from their normal image outside the mask; parted: some pieces of
    the mask show no defect."""

    saved: int = 0
    there: int = 0
    blank: int = 0
    hidden: int = 0
    foreign: int = 0
    parted: int = 0

    def in_words(self, folder: str, unscored: bool) -> tuple[str, ...]:
        """For the history and the log: the counts in one line, then a line for each that needs a word."""
        words = [f"{self.saved} saved"]
        for count, what in ((self.there, "already there"), (self.blank, "blank"), (self.hidden, "not visible")):
            words += [f"{count} {what}"] if count else []
        notes = {
            f"blank: the image equals its normal image inside the mask, so the mask would be a wrong label; look for a "
            f"sampler or Compose Pair that is bypassed. {folder}/dropped.jsonl lists such pairs": self.blank,
            f"not visible: left out, {folder}/dropped.jsonl lists them; not_visible keep saves them": self.hidden,
            "not_visible is drop, but scores is open: only blank pairs can be left out": unscored,
            f"{self.foreign} differ from their normal image outside the mask, too: connect Compose Pair's image, and "
            "the normal image and mask that it got": self.foreign,
            f"{self.parted} show no defect in some pieces of their mask; see unchanged_pieces in the "
            "manifest": self.parted,
        }
        text = ", ".join(words), *(note for note, count in notes.items() if count)
        (_log.warning if self.blank else _log.info)("Save Pairs: %s.", ". ".join(text))
        return text


def saved_pairs(names: Sequence[str], dataset: Dataset) -> list[Sample]:
    """The pairs of the one folder that `names` name, perhaps many times; none where they are empty.

    Raises:
        Refused: several folders, no such folder, no pairs in it, objects or types that the dataset does not have.
    """
    root = _read_root(names)
    if root is None:
        return []
    pairs = [sample for sample in read_mvtec(root) if sample.type != "good"] if any(root.iterdir()) else []
    if not pairs:
        raise Refused(root, "it holds no pairs", remedy="save some with Save Pairs first")
    known = {(sample.object, sample.type) for sample in (*dataset.train, *dataset.held_back)}
    strange = {(sample.object, sample.type) for sample in pairs} - known
    if strange:
        raise Refused(
            root,
            f"it holds pairs of {_listed(strange)}, of which the dataset has none",
            f"one of {_listed(kind for kind in known if kind[1] != 'good')}",
            "give Save Pairs the dataset's names for object and type",
        )
    return pairs


def pairs_root(names: Sequence[str | None]) -> Path | None:
    """The one folder below the host's output; None where all names are empty, or None, which another node computes.
    Raises Refused as `saved_pairs`."""
    roots = sorted({pairs_folder(name.strip()) for name in names if name and name.strip()})
    if len(roots) > 1:
        raise Refused(
            "pairs",
            f"{len(roots)} folders ({roots[0].name}, {roots[1].name}, ...), but this node runs once",
            remedy="connect one Save Pairs, and give it one folder",
        )
    if roots and not roots[0].is_dir():
        raise Refused(roots[0], "no such folder", remedy="connect Save Pairs' folder, so that the pairs are made first")
    return roots[0] if roots else None


def needed_root(names: Sequence[str]) -> Path:
    """As `pairs_root`, for a node that has nothing to do without. Raises Refused where all names are empty, too."""
    root = _read_root(names)
    if root is None:
        raise Refused("pairs", "empty", remedy="connect Save Pairs' folder, or give its name")
    return root


def _read_root(names: Sequence[str]) -> Path | None:
    """As `pairs_root`, to read all that lies in it. Raises Refused for a link that leads elsewhere, too."""
    root = pairs_root(names)
    if root is not None:
        check_links(root, read_roots())
    return root


def pairs_state(names: Sequence[str | None] | None) -> str | None:
    """Changes where a pair of the folder changes; None where there is no folder, or another node computes its name."""
    root = pairs_root(names or [])
    return fingerprint(str(root), "") if root else None


def _listed(kinds: Iterable[tuple[str, str]]) -> str:
    names = [" / ".join(kind) for kind in sorted(kinds)]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


NODES = [SavePairs]
