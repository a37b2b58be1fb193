"""The arguments of `anomaly-synthesis`: every command's options, and the help that comes with them."""

from __future__ import annotations

import argparse
from pathlib import Path

from .choices import (
    ADAPTERS,
    CHECKPOINTING,
    FORMATS,
    LAYOUTS,
    MODES,
    POLICIES,
    PRECISIONS,
    PRESETS,
    SCORES,
    SEGMENTATIONS,
    STAGES,
)

_PRESET_HELP = "sampler settings; paper is FAST as published and wants 50 steps (recommended)"
_STEPS_HELP = "sampling steps (20); each is one call of the model, two with guidance"
QUICK = (3, 60, 300)  # seeds, pairs per type, training steps
_SEED_HELP = "whole number that decides every random choice (0)"
_EXPORTS = """\
formats (MVTec layout is what the folder of pairs is in already):
  coco   images/, annotations/instances.json: an annotation for every connected piece of a mask
  yolo   images/, labels/, data.yaml: a polygon for every connected piece of a mask
  plain  images/, masks/, normals/: an image and its mask have one name
files are called <index>_<object>_<type>; a class is <type>, or <object>_<type> where there are several objects. Each
folder gets manifest.jsonl with the pairs' lines. More in docs/export.md."""
_LAYOUT = """a data folder holds one object, or a folder for each, in MVTec layout:
  <object>/train/good/0001.png
  <object>/test/<defect type>/0002.png
  <object>/ground_truth/<defect type>/0002_mask.png
or as MVTec LOCO, AD 2 or 3D-AD, BTAD, VisA, Real-IAD, DAGM, Severstal, KolektorSDD or the magnetic-tile set; as COCO,
LabelMe, YOLO, CVAT, Pascal VOC or Roboflow files; in anomalib's folders; or as images and masks (black and white, or
class numbers) that share a stem. Which one is found out. `anomaly-synthesis inspect DIR` tells what a folder is taken
for and what is wrong."""


def parser() -> argparse.ArgumentParser:
    """Of all commands; parsed options hold the name of theirs as `command`."""
    parser = argparse.ArgumentParser(
        prog="anomaly-synthesis",
        description="Synthesize industrial defects: from a normal image, a mask and an anomaly type to a checked pair.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = _command(commands, "demo", "16 pairs from the bundled base, with a contact sheet")
    demo.add_argument("--out", required=True, help="folder for pairs and sheet.png; an unfinished demo is continued")
    demo.add_argument("--preset", choices=PRESETS, default="recommended", help=_PRESET_HELP)
    demo.add_argument("--steps", type=int, default=20, help=_STEPS_HELP)

    surfaces = _command(commands, "surfaces", "write procedural surfaces with exact masks, MVTec layout")
    surfaces.add_argument("--out", required=True, help="folder to make")
    surfaces.add_argument("--normals", type=int, default=60, help="normal images per material (60)")
    surfaces.add_argument("--defects", type=int, default=20, help="defect images per material and type (20)")
    surfaces.add_argument("--size", type=int, default=256, help="side in pixels (256)")
    surfaces.add_argument("--seed", type=int, default=0, help=_SEED_HELP)

    inspect = _command(
        commands,
        "inspect",
        "tell what a data folder holds (objects, types, counts, sizes, masks by area) and what is wrong with it; exit "
        "code 1 where something must be mended before the folder can be used",
    )
    inspect.add_argument("folder", metavar="DIR", help="the data folder")
    _layout(inspect)
    inspect.add_argument("--sheet", metavar="FILE", help="write a picture of it with examples of every type, .png")
    inspect.add_argument("--json", metavar="FILE", help="write all of it as JSON, too")

    split = _command(
        commands,
        "split",
        "split the images into training and held-back, by group, into a split.json; groups come from a manifest.csv "
        "with the columns file and group in or beside the data, else from near-duplicates; a manifest.csv of these "
        "images that cannot be used is an error",
    )
    _data(split)
    split.add_argument("--out", required=True, help="the split.json to write")
    source = split.add_mutually_exclusive_group()
    source.add_argument("--groups", metavar="CSV", help="groups from a manifest with the columns file and --column")
    source.add_argument("--pattern", metavar="REGEX", help="groups from file names or paths: the first capture group")
    source.add_argument("--near-duplicates", action="store_true", help="groups of images that look alike")
    source.add_argument("--ungrouped", action="store_true", help="every image is a group: no part appears twice")
    split.add_argument("--column", default="group", help="the manifest's column (group)")
    split.add_argument("--share", type=float, default=1 / 3, help="share of the defect images that trains (1/3)")
    split.add_argument("--seed", type=int, default=0, help=_SEED_HELP)

    train = _command(
        commands,
        "train-base",
        "train a compact base, autoencoder, then UNet; the defaults take about two hours on two cores",
    )
    source = train.add_mutually_exclusive_group(required=True)
    _data(train, source)
    source.add_argument(
        "--drawn", action="store_true", help="train a base for any surface on drawn ones instead: no data, no split"
    )
    train.add_argument("--pool", type=int, default=32768, help="with --drawn: crops drawn in all (32768)")
    train.add_argument("--split", help="split.json, needed with --data; only its training part is read for training")
    train.add_argument("--out", required=True, help="the base to write, .safetensors")
    train.add_argument("--resolution", type=int, default=128, help="side of the crops in pixels (128)")
    train.add_argument("--steps", type=int, default=6000, help="steps of the UNet (6000)")
    train.add_argument("--autoencoder-steps", type=int, default=4000, help="steps of the autoencoder (4000)")
    train.add_argument("--batch", type=int, default=16, help="crops per step (16)")
    train.add_argument("--seed", type=int, default=0, help=_SEED_HELP)
    train.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto: bf16 on a GPU")
    train.add_argument("--resume", action="store_true", help="continue a killed run; same result as an unbroken one")
    _device_option(train)

    adapter = _command(commands, "train", "train an adapter on a compact base: one for all defect types")
    _data(adapter)
    adapter.add_argument(
        "--method",
        choices=ADAPTERS,
        default="fast",
        help="fast: anomaly tokens and FARM (default); stage: tokens and both MGA heads",
    )
    adapter.add_argument("--split", required=True, help="split.json; only its training part is read")
    adapter.add_argument("--base", required=True, help="a compact base trained under this split, .safetensors")
    adapter.add_argument("--out", required=True, help="the adapter to write, .safetensors")
    adapter.add_argument("--steps", type=int, default=2000, help="optimiser steps (2000)")
    adapter.add_argument("--batch", type=int, default=4, help="crops per step (4)")
    adapter.add_argument("--learning-rate", type=float, help="peak learning rate (fast 1.5e-4, stage 1e-3)")
    adapter.add_argument("--tokens", type=int, default=8, help="anomaly tokens per type (8)")
    adapter.add_argument(
        "--tokens-of", metavar="FILE", help="stage: keep the tokens of this adapter, and train the heads alone"
    )
    adapter.add_argument(
        "--widths",
        nargs="+",
        type=int,
        metavar="CHANNELS",
        help="stage: of the heads' layers, multiples of 16 (64 256 512 256 64, the paper's; for a\n"
        "compact base 32 64 128 64 32 take a tenth of the time)",
    )
    adapter.add_argument(
        "--patience", type=int, default=0, help="looks at held-out images without a gain before the end, 0 is never (0)"
    )
    adapter.add_argument("--unaware", action="store_true", help="the base is not told mask and background (the papers)")
    adapter.add_argument(
        "--checkpointing",
        choices=CHECKPOINTING,
        default="auto",
        help="less memory, a third more time; auto: where a GPU's memory is short",
    )
    adapter.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto: bf16 on a GPU")
    adapter.add_argument("--seed", type=int, default=0, help=_SEED_HELP)
    adapter.add_argument("--resume", action="store_true", help="continue a killed run; same result as an unbroken one")
    _device_option(adapter)

    released = _command(
        commands,
        "import-stage",
        "turn the files that STAGE's own code writes into one adapter; their pickles are read, never run",
    )
    released.add_argument("--embeddings", required=True, metavar="FILE", help="embeddings*.pt, the anomaly tokens")
    released.add_argument("--fine-image", required=True, metavar="FILE", help="fine_image*.pt, the anomaly-aware head")
    released.add_argument("--fine-mask", required=True, metavar="FILE", help="fine_mask*.pt, the anomaly-only head")
    released.add_argument("--out", required=True, help="the adapter to write, .safetensors")

    make = _command(commands, "synthesize", "make checked pairs of image and mask, MVTec layout")
    _data(make)
    make.add_argument("--base", required=True, help="a compact base, .safetensors")
    make.add_argument(
        "--adapter", nargs="+", metavar="FILE", help="an adapter of `train`; one of FAST and one of STAGE work together"
    )
    make.add_argument(
        "--graded",
        choices=STAGES,
        help="parts of STAGE (stage with its adapter, else none); stage-paper wants 1000 steps",
    )
    make.add_argument("--farm", type=float, default=1.0, help="FARM's share in the mask, 0 leaves it out (1)")
    make.add_argument("--farm-until", type=float, help="time 0 to 999 below which FARM rests (40; paper: 2)")
    make.add_argument("--split", required=True, help="split.json; masks come from its training part")
    make.add_argument(
        "--normals",
        choices=("train", "held-back"),
        default="train",
        help="part that the normal images come from (train); held-back is for studies",
    )
    make.add_argument("--count", type=int, required=True, help="pairs to make; blank and dropped ones count")
    make.add_argument("--steps", type=int, default=20, help=_STEPS_HELP)
    make.add_argument("--preset", choices=PRESETS, default="recommended", help=_PRESET_HELP)
    make.add_argument("--guidance", type=float, default=2.0, help="classifier-free guidance, 1 is off (2)")
    make.add_argument("--unaware", action="store_true", help="do not tell the model mask and background (the papers)")
    make.add_argument("--context", type=float, default=1.0, help="context per side, in lengths of the mask's box (1)")
    make.add_argument(
        "--compose",
        choices=MODES,
        default="difference",
        help="difference keeps the surface's fine texture (default); paste: the papers",
    )
    make.add_argument("--feather", type=int, default=0, help="pixels of fade-in inside the mask's edge (0)")
    make.add_argument(
        "--foreign-base", action="store_true", help="accept a base of another split (it may know what is held back)"
    )
    make.add_argument(
        "--policy",
        choices=POLICIES,
        default="drop",
        help="drop pairs that are not visible (default), keep and flag them, or refine: make each\n"
        "--rounds times more, seeds and settings varied, and keep the best",
    )
    make.add_argument("--rounds", type=int, default=3, help="of --policy refine; each costs as much as a pair (3)")
    make.add_argument(
        "--redraw", type=int, default=0, help="new seeds where a pair is not visible, before it is kept or dropped (0)"
    )
    make.add_argument(
        "--negatives",
        type=int,
        default=64,
        help="normal re-samples behind the threshold of excess; more are steadier (64)",
    )
    make.add_argument("--seed", type=int, default=0, help=_SEED_HELP)
    make.add_argument("--out", required=True, help="folder to make")
    make.add_argument(
        "--resume",
        action="store_true",
        help="continue in an existing folder of the same settings; pairs that were lost or damaged are\n"
        "made again, all others stay",
    )
    _device_option(make)

    worst = _command(commands, "worst", "show the worst pairs of a folder by a score, close up on one sheet")
    worst.add_argument("--pairs", required=True, metavar="DIR", help="a folder of `synthesize`, `demo` or Save Pairs")
    worst.add_argument(
        "--by",
        choices=SCORES,
        default="visibility",
        help="the score; low is bad, but of seam and nearest_real high is; visible of\n"
        "`synthesize` goes by excess (visibility)",
    )
    worst.add_argument("--count", type=int, default=12, help="pairs to show (12)")
    worst.add_argument("--out", required=True, metavar="FILE", help="the sheet to write, .png")

    study = _command(
        commands,
        "evaluate",
        "train segmentation networks with and without synthetic pairs, test them on the held-back part, and report",
    )
    _data(study)
    study.add_argument("--split", required=True, help="split.json: the training part trains, the held-back part tests")
    study.add_argument("--out", required=True, help="folder; cells that are there stay, so that a study continues")
    study.add_argument(
        "--methods",
        nargs="+",
        required=True,
        metavar="METHOD",
        help="real-only, cutpaste, cutpaste-scar, draem, copy-paste, aias, aias-unaware, fast,\n"
        "fast-no-farm, stage, fast-and-stage; sampled otherwise: aias@steps=10, "
        "fast@preset=paper,steps=50,farm=0, stage@graded=mga-aif",
    )
    study.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="METHOD",
        help="compare with these, too, not only with the best baseline",
    )
    study.add_argument(
        "--networks", nargs="+", default=["small_unet"], metavar="NETWORK", help="small_unet (default), segformer"
    )
    study.add_argument("--seeds", type=int, default=3, help="training and sampling seeds, 0 to this (3)")
    study.add_argument("--count", type=int, default=200, help="pairs per type and seed (200)")
    study.add_argument(
        "--steps",
        type=int,
        default=600,
        help="training steps of every network (600); --validate shows whether they suffice",
    )
    study.add_argument(
        "--validate",
        action="store_true",
        help="train every cell once more with a fifth of the training groups held out, to see whether "
        "its method's trainings reach a plateau",
    )
    study.add_argument(
        "--quick",
        action="store_true",
        help="{} seeds, {} pairs per type, {} steps: better or worse? The report states its own noise".format(*QUICK),
    )
    study.add_argument("--base", help="compact base trained under this split, for the methods that sample")
    study.add_argument(
        "--adapter",
        nargs="+",
        default=[],
        metavar="FILE",
        help="adapters of `train` on that base, for the fast and stage methods; those trained with "
        "--unaware serve aware=false",
    )
    study.add_argument("--textures", help="folder of DRAEM's textures (the procedural surfaces)")
    _device_option(study)

    export = _command(
        commands,
        "export",
        "write a folder of pairs, as synthesize, batch or Save Pairs makes it, in the format that a trainer reads",
    )
    export.epilog = _EXPORTS
    export.add_argument("--pairs", required=True, metavar="DIR", help="folder of pairs with manifest.jsonl")
    export.add_argument("--format", required=True, choices=FORMATS, help="see below")
    export.add_argument("--out", required=True, metavar="DIR", help="folder to make, beside the pairs")
    export.add_argument(
        "--segmentation",
        choices=SEGMENTATIONS,
        help="coco: run lengths (default) or polygons; both are the mask, pixel by pixel",
    )
    export.add_argument(
        "--visible-only",
        action="store_true",
        help="leave out pairs not known to show their defect; they are noise in labels",
    )
    export.add_argument("--no-normals", action="store_true", help="leave out the normal images")
    export.add_argument(
        "--link",
        action="store_true",
        help="hard links instead of copies, for images and masks: less space, but a tool that\n"
        "changes one in place changes the pair, too",
    )
    export.add_argument(
        "--resume", action="store_true", help="go on after a stop, or follow pairs that came or went: as a new export"
    )

    if (Path(__file__).parent / "batch").is_dir():  # the registry's archive has no code that opens connections
        from .batch.arguments import add_arguments

        add_arguments(_command(commands, "batch", "make thousands of pairs with ComfyUI servers, to the end"))
    return parser


def _command(commands, name: str, description: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=description,
        description=description,
        epilog=_LAYOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=name)
    return parser


def _data(parser: argparse.ArgumentParser, source: argparse._ActionsContainer | None = None) -> None:
    """source: a group of `parser` that --data is one choice of; None requires it."""
    (source or parser).add_argument("--data", required=source is None, help="data folder: one object, or several")
    parser.add_argument("--types", nargs="+", metavar="TYPE", help="defect types to use (all)")
    _layout(parser)


def _layout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", choices=LAYOUTS, help="what to read the data folder as (found out)")


def _device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
