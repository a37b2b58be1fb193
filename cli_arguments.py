"""The arguments of `anomaly-synthesis`; the settings among them are made from the rooms' dataclasses, without torch."""

from __future__ import annotations

import argparse
from dataclasses import MISSING
from pathlib import Path
from textwrap import fill
from typing import Any

from .choices import ADAPTERS, DEFECTS, LAYOUTS, METHODS, PARTS
from .datasets.settings import ExportSettings, SplitSettings, SurfaceSettings
from .evaluation.settings import QUICK, QUICK_TRAINING, Study, Training
from .settings import Setting, settings_of, shown
from .synthesis.settings import DROP, Look, MakeSettings, RunSettings, Settings, WorstSettings
from .training.settings import AdapterTraining, BaseTraining, DrawnPool, FastTraining, StageTraining

_EXPORTS = """\
formats (a folder of pairs is in MVTec layout already):
  coco   images/, annotations/instances.json: an annotation for every connected piece of a mask
  yolo   images/, labels/, data.yaml: a polygon for every connected piece of a mask
  plain  images/, masks/, normals/: an image and its mask have the same name
Files are named <index>_<object>_<type>. A class is <type>, or <object>_<type> if there are several objects. Each
folder gets a manifest.jsonl with the lines of its pairs. See docs/export.md."""
_LAYOUT = """\
A data folder holds one object, or one folder per object, in MVTec layout:
  <object>/train/good/0001.png
  <object>/test/<defect type>/0002.png
  <object>/ground_truth/<defect type>/0002_mask.png
Other layouts that are read: MVTec LOCO, AD 2 and 3D-AD, BTAD, VisA, Real-IAD, DAGM, Severstal, KolektorSDD, the
magnetic-tile set; COCO, LabelMe, YOLO, CVAT, Pascal VOC and Roboflow files; anomalib's folders; images and masks (black
and white, or class numbers) that share a stem. The layout is detected. `anomaly-synthesis inspect DIR` shows how a
folder is read and what is wrong with it."""


def parser() -> argparse.ArgumentParser:
    """Of all commands.

    Parsed options hold the name of their command as `command`; `settings`, for `values_of`; and `flags`, from the name
    of a setting or an argument to its flag.
    """
    parser = argparse.ArgumentParser(
        prog="anomaly-synthesis",
        description="Synthesize industrial defects: from a normal image, a mask and an anomaly type to a checked pair.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _make,
        _draw,
        _demo,
        _surfaces,
        _inspect,
        _split,
        _train_base,
        _train,
        _import_stage,
        _synthesize,
        _worst,
    ):
        add(commands)
    _evaluate(commands)
    _export(commands)
    if (Path(__file__).parent / "batch").is_dir():  # the registry's archive has no code that opens connections
        from .batch.arguments import add_arguments

        add_arguments(_command(commands, "batch", "Make thousands of pairs on ComfyUI servers, without supervision."))
    for command in commands.choices.values():
        flags = {action.dest: action.option_strings[0] for action in command._actions if action.option_strings}
        for found in (command.get_default("settings") or {}).values():
            flags |= {name: flags[dest] for name, dest in found.items()}
        command.set_defaults(flags=flags)
    return parser


def values_of(options: argparse.Namespace, cls: type) -> dict[str, Any]:
    """The values of the settings of `cls` that the command has, without those that it leaves to `cls` by None."""
    known, found = settings_of(cls), {}
    for name, dest in options.settings[cls].items():
        value = getattr(options, dest)
        if value is not None:
            switch = known[name].type == "bool" and known[name].default
            found[name] = tuple(value) if isinstance(value, list) else not value if switch else value
    return found


def _make(commands) -> None:
    command = _command(
        commands, "make", "Make a defect on a photograph, where its mask is.", "No training, no download."
    )
    _photograph(command, "one that the base knows; the bundled one knows crack, missing, pit, scratch and stain")
    _settings(command, Look, "contrast", "strength", "softness")
    command.add_argument(
        "--base", default="bundled", help="A compact base: bundled, or a .safetensors. [default: bundled]"
    )
    _settings(command, MakeSettings, "seed", "steps", "guidance", "tries", refine="--mask-as-given")
    _device(command)


def _draw(commands) -> None:
    command = _command(commands, "draw", "Draw a defect on a photograph by rules, without a model.")
    _photograph(command, ", ".join(DEFECTS))
    _settings(command, MakeSettings, "seed")


def _photograph(parser: argparse.ArgumentParser, types: str) -> None:
    parser.add_argument("image", metavar="IMAGE", help="A photograph without a defect, of any size.")
    parser.add_argument(
        "--mask", required=True, metavar="FILE", help="Where the defect goes: its size, white is defect."
    )
    parser.add_argument("--type", default="crack", help=f"Kind of defect: {types}. [default: crack]")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="The image to write, .png; its mask goes beside it, as <name>_mask.png. By default <image>_<type>.png in "
        "the current folder.",
    )


def _demo(commands) -> None:
    command = _command(commands, "demo", "Make 16 pairs with the bundled base, and a contact sheet.")
    command.add_argument(
        "--out", required=True, help="Folder for the pairs and sheet.png. An unfinished demo is continued."
    )
    _settings(command, Settings, "preset", "steps")


def _surfaces(commands) -> None:
    command = _command(commands, "surfaces", "Draw procedural surfaces with exact masks, in MVTec layout.")
    command.add_argument("--out", required=True, help="Folder to create.")
    _settings(command, SurfaceSettings, "normals", "defects", "size", "seed")


def _inspect(commands) -> None:
    command = _command(
        commands,
        "inspect",
        "Show what a data folder holds and what is wrong with it.",
        "It lists objects, types, counts, sizes and mask areas. The exit code is 1 if something must be repaired "
        "before the folder can be used.",
    )
    command.add_argument("folder", metavar="DIR", help="The data folder.")
    _layout(command)
    command.add_argument("--sheet", metavar="FILE", help="Also write a picture with examples of every type, .png.")
    command.add_argument("--json", metavar="FILE", help="Also write the whole report as JSON.")


def _split(commands) -> None:
    command = _command(
        commands,
        "split",
        "Split the images into a training part and a held-back part, by group.",
        "The groups come from a manifest.csv with the columns file and group, in the data folder or beside it, else "
        "from near-duplicates. A manifest.csv that names these images but cannot be used is an error.",
    )
    _data(command)
    command.add_argument("--out", required=True, help="The split.json to write.")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--groups", metavar="CSV", help="Groups from a manifest with the columns file and --column.")
    source.add_argument(
        "--pattern", metavar="REGEX", help="Groups from file names or paths: the first capture group of this pattern."
    )
    source.add_argument("--near-duplicates", action="store_true", help="Groups of images that look alike.")
    source.add_argument(
        "--ungrouped", action="store_true", help="Every image is its own group: no part was photographed twice."
    )
    command.add_argument("--column", default="group", help="Column of the manifest with the group. [default: group]")
    _settings(command, SplitSettings, "share", "seed")


def _train_base(commands) -> None:
    command = _command(
        commands,
        "train-base",
        "Train a compact base: first the autoencoder, then the UNet.",
        "The defaults take about two hours on two cores.",
    )
    source = command.add_mutually_exclusive_group(required=True)
    _data(command, source)
    source.add_argument(
        "--drawn", action="store_true", help="Train a base for any surface, on drawn surfaces: no data, no split."
    )
    _settings(command, DrawnPool, "pool")
    command.add_argument(
        "--split", help="split.json, required with --data. Only its training part is used for training."
    )
    command.add_argument(
        "--init",
        metavar="FILE",
        help="Train this base on instead of a new one, in a tenth of the steps: bundled, or a .safetensors. Its "
        "autoencoder stays.",
    )
    command.add_argument("--out", required=True, help="The base to write, .safetensors.")
    _settings(
        command, BaseTraining, "resolution", "steps", "autoencoder_steps", "batch", "latent_noise", "seed", "precision"
    )
    _resume(command)
    _device(command)


def _train(commands) -> None:
    command = _command(commands, "train", "Train one adapter for all defect types on a compact base.")
    _data(command)
    command.add_argument(
        "--method",
        choices=ADAPTERS,
        default="fast",
        help="fast: anomaly tokens and FARM. stage: anomaly tokens and both MGA heads. [default: fast]",
    )
    command.add_argument("--split", required=True, help="split.json. Only its training part is read.")
    command.add_argument("--base", required=True, help="A compact base trained under this split, .safetensors.")
    command.add_argument("--out", required=True, help="The adapter to write, .safetensors.")
    _settings(command, AdapterTraining, "steps", "batch")
    rate = settings_of(AdapterTraining)["learning_rate"]
    rates = ", ".join(f"{one.method} {shown(one.learning_rate)}" for one in (FastTraining, StageTraining))
    _own(command, rate, AdapterTraining, f"{rate.accepted}; default: {rates}")
    _settings(command, AdapterTraining, "tokens")
    command.add_argument(
        "--tokens-of", metavar="FILE", help="With stage: keep the tokens of this adapter and train the heads alone."
    )
    widths = settings_of(StageTraining)["widths"]
    _own(command, widths, StageTraining, f"{widths.accepted}; default: {shown(widths.default)}", metavar="CHANNELS")
    _settings(command, AdapterTraining, "patience")
    command.add_argument(
        "--unaware",
        action="store_true",
        help="Do not give the base the mask and the background in training, as in the papers.",
    )
    _settings(command, AdapterTraining, "checkpointing", "precision", "seed")
    _resume(command)
    _device(command)


def _import_stage(commands) -> None:
    command = _command(
        commands,
        "import-stage",
        "Convert the files that STAGE's own code writes into one adapter.",
        "Their pickles are parsed, never executed.",
    )
    command.add_argument("--embeddings", required=True, metavar="FILE", help="embeddings*.pt, the anomaly tokens.")
    command.add_argument("--fine-image", required=True, metavar="FILE", help="fine_image*.pt, the anomaly-aware head.")
    command.add_argument("--fine-mask", required=True, metavar="FILE", help="fine_mask*.pt, the anomaly-only head.")
    command.add_argument("--out", required=True, help="The adapter to write, .safetensors.")


def _synthesize(commands) -> None:
    command = _command(commands, "synthesize", "Make checked pairs of image and mask, in MVTec layout.")
    _data(command)
    command.add_argument("--base", required=True, help="A compact base, .safetensors.")
    command.add_argument(
        "--adapter", nargs="+", metavar="FILE", help="Adapters of `train`: one of FAST, one of STAGE, or one of each."
    )
    _settings(command, Settings, "graded", "farm", "farm_until")
    command.add_argument("--split", required=True, help="split.json. Masks come from its training part.")
    command.add_argument(
        "--normals",
        choices=tuple(part.replace("_", "-") for part in PARTS),
        default="train",
        help="Part that the normal images come from; held-back is for studies. [default: train]",
    )
    _settings(command, RunSettings, "count")
    _settings(command, Settings, "steps", "preset", "guidance")
    _settings(command, Settings, aware="--unaware")
    _settings(command, Settings, "context")
    _settings(command, Settings, mode="--compose")
    _settings(command, Settings, "feather")
    command.add_argument(
        "--foreign-base",
        action="store_true",
        help="Accept a base that was trained under another split and may know the held-back images.",
    )
    _settings(command, DROP, name="--policy")
    _settings(command, DROP, "rounds", "redraw")
    _settings(command, RunSettings, "negatives", "seed")
    command.add_argument("--out", required=True, help="Folder to create.")
    _resume(
        command,
        "Continue an existing folder of the same settings. Lost or damaged pairs are made again, all others stay.",
    )
    _device(command)


def _worst(commands) -> None:
    command = _command(commands, "worst", "Show the worst pairs of a folder by one score, in close-up, on one sheet.")
    command.add_argument(
        "--pairs", required=True, metavar="DIR", help="A folder of `synthesize`, `demo` or Save Pairs."
    )
    _settings(command, WorstSettings, "by", "count")
    command.add_argument("--out", required=True, metavar="FILE", help="The sheet to write, .png.")


def _evaluate(commands) -> None:
    command = _command(
        commands,
        "evaluate",
        "Compare segmentation networks trained with and without synthetic pairs, and write a report.",
        "The training part of the split trains, the held-back part tests.",
    )
    _data(command)
    command.add_argument("--split", required=True, help="The split.json of the data.")
    command.add_argument(
        "--out", required=True, help="Folder of the study. Cells that are there are kept, so that a study continues."
    )
    command.add_argument(
        "--methods",
        nargs="+",
        required=True,
        metavar="METHOD",
        help=f"Methods to compare: {', '.join(METHODS)}. Settings follow an @: aias@steps=10, "
        "fast@preset=paper,steps=50,farm=0, stage@graded=mga-aif.",
    )
    command.add_argument(
        "--pairs",
        nargs="+",
        default=[],
        metavar="[NAME=]DIR",
        help="Further methods: folders of pairs that anyone made, named after the folder or NAME. Read are folders of "
        "this pack, MVTec AD's arrangement, and what AnomalyDiffusion, SeaS and AnomalyGen write.",
    )
    command.add_argument(
        "--shift",
        metavar="COLUMN=VALUE",
        help="Transfer test: images whose COLUMN in the data's manifest.csv is VALUE only test, all others only train.",
    )
    command.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="METHOD",
        help="Also compare with these methods, not only with the best baseline.",
    )
    _settings(command, Study, "networks", "seeds", per_type="--count")
    command.add_argument(
        "--shots",
        nargs="+",
        type=_shots,
        default=[None],
        metavar="N",
        help="Real defects per type that train: numbers, or all; the smaller ones are among the larger. At 0 there are "
        "the methods that need none. [default: all]",
    )
    _settings(
        command,
        Training,
        "steps",
        "weights",
        "crop",
        "batch",
        "synthetic",
        "synthetic_until",
        "synthetic_weight",
        "labels",
        "filtered",
        "augmentation",
        "folds",
        "learning_rate",
        ignore="--ignore-edge",
    )
    command.add_argument(
        "--validate",
        action="store_true",
        help="Train every cell once more with a fifth of the training groups held out, to see whether the training "
        "reaches a plateau within --steps.",
    )
    command.add_argument(
        "--quick",
        action="store_true",
        help="A short study: {seeds} seeds, {per_type} pairs per type, {steps} steps. The report states its "
        "noise.".format(**QUICK, **QUICK_TRAINING),
    )
    command.add_argument(
        "--base",
        help="Compact base for the methods that sample: trained under this split, of `train-base --drawn`, or bundled.",
    )
    command.add_argument(
        "--adapter",
        nargs="+",
        default=[],
        metavar="FILE",
        help="Adapters of `train` on that base, for the fast and stage methods. Those trained with --unaware are for "
        "aware=false.",
    )
    command.add_argument("--textures", help="Folder of textures for draem. By default procedural surfaces.")
    _device(command)


def _export(commands) -> None:
    command = _command(
        commands,
        "export",
        "Write a folder of pairs, from synthesize, batch or Save Pairs, in a format that trainers read.",
    )
    command.epilog = _EXPORTS
    command.add_argument("--pairs", required=True, metavar="DIR", help="Folder of pairs with manifest.jsonl.")
    _settings(command, ExportSettings, "format")
    command.add_argument("--out", required=True, metavar="DIR", help="Folder to create, outside the folder of pairs.")
    _settings(command, ExportSettings, "segmentation", "visible_only", normals="--no-normals")
    _settings(command, ExportSettings, "link", "labels")
    _resume(
        command,
        "Continue an export that was stopped, or update it after pairs were added or removed; the result equals a new "
        "export.",
    )


def _command(commands, name: str, summary: str, more: str = "") -> argparse.ArgumentParser:
    """summary: for the list of commands; more: sentences for the command's own help."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=fill(f"{summary} {more}", 100, break_on_hyphens=False),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=name, settings={})
    return parser


def _shots(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor all")
    return int(text)


def _settings(parser: argparse.ArgumentParser, of: Any, *names: str, **flags: str) -> None:
    """Add options for fields of `of`, a settings dataclass or an instance that has other defaults.

    names: fields whose option is called as they are; flags: field -> flag of another name. The flag of a bool switches
    it to what is not its default.
    """
    known = settings_of(of)
    for name, flag in {**{name: _flag(name) for name in names}, **flags}.items():
        found = known[name]
        action = _argument(parser, flag, found)
        _note(parser, of if isinstance(of, type) else type(of), name, action.dest)


def _argument(parser: argparse.ArgumentParser, flag: str, found: Setting) -> argparse.Action:
    limits = "" if found.choices and found.type == "str" else found.accepted
    default = "" if found.default in (None, MISSING) else f"default: {shown(found.default)}"
    note = "; ".join(filter(None, (limits, default)))
    options: dict[str, Any] = {"help": f"{found.help} [{note}]" if note else found.help}
    if found.type == "bool":
        options = {"help": found.off if found.default else found.help, "action": "store_true"}
    elif found.type.startswith("tuple"):
        options |= {"nargs": "+", "default": list(found.default), "metavar": found.name.removesuffix("s").upper()}
    else:
        required = found.default is MISSING
        options |= {"required": True} if required else {"default": found.default}
        options |= {"type": _TYPES[found.type]} if found.type in _TYPES else {"choices": found.choices or None}
    return parser.add_argument(flag, **options)


def _own(parser: argparse.ArgumentParser, found: Setting, cls: type, note: str, **options) -> None:
    """An option that leaves the default to the method; note: its range and defaults, for the help."""
    values = {"nargs": "+"} if found.type.startswith("tuple") else {}
    kind = int if found.type.startswith("tuple[int") else _TYPES[found.type]
    action = parser.add_argument(_flag(found.name), type=kind, help=f"{found.help} [{note}]", **values, **options)
    _note(parser, cls, found.name, action.dest)


def _note(parser: argparse.ArgumentParser, cls: type, name: str, dest: str) -> None:
    parser.get_default("settings").setdefault(cls, {})[name] = dest


_TYPES = {"int": int, "float": float}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _data(parser: argparse.ArgumentParser, source: argparse._ActionsContainer | None = None) -> None:
    """source: a group of `parser` that --data is one choice of; None requires it."""
    (source or parser).add_argument("--data", required=source is None, help="Data folder of one object or several.")
    parser.add_argument("--types", nargs="+", metavar="TYPE", help="Defect types to use. By default all.")
    _layout(parser)


def _layout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", choices=LAYOUTS, help="Layout of the data folder. By default it is detected.")
    parser.epilog = _LAYOUT


def _resume(
    parser: argparse.ArgumentParser, help: str = "Continue an interrupted run; the result equals an uninterrupted one."
) -> None:
    parser.add_argument("--resume", action="store_true", help=help)


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu or cuda. [default: cpu]")
