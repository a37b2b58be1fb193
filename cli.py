"""The `anomaly-synthesis` command: argument parsing and words on the screen, no logic."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

_PRESETS = ("recommended", "fast", "paper")
_GRADED = ("baseline", "mga", "mga-aif", "mga-aif-gd", "mga-aif-ema", "stage", "stage-paper")
_POLICIES = ("keep", "drop", "refine")
_PRESET_HELP = "sampler settings; paper is FAST as published and wants 50 steps (recommended)"
_STEPS_HELP = "sampling steps (20); each is one call of the model, two with guidance"
_ERRORS = {
    "fast": "FARM's error on groups held out: {:.2f} (an answer of 0 would have 1)",
    "stage": "the heads' noise error on groups held out: {:.2f} (the base alone has 1)",
}
_QUICK = (3, 60, 300)  # seeds, pairs per type, training steps
_SEED_HELP = "whole number that decides every random choice (0)"
_LAYOUTS = ("mvtec", "loco", "btad", "visa", "coco", "labelme", "stems", "index")
_LAYOUT = """a data folder holds one object, or a folder for each, in MVTec layout:
  <object>/train/good/0001.png
  <object>/test/<defect type>/0002.png
  <object>/ground_truth/<defect type>/0002_mask.png
or as MVTec LOCO, BTAD, VisA, COCO or LabelMe files, or images and masks (black and white, or class numbers) that share
a stem; which one is found out. `anomaly-synthesis inspect DIR` tells what a folder is taken for and what is wrong."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong usage."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, --resume continues it", file=sys.stderr)
        return 1
    return 0


def _demo(options: argparse.Namespace) -> None:
    from .synthesis.demo import demo
    from .synthesis.pair import Settings

    started = time.perf_counter()
    records = demo(options.out, Settings(preset=options.preset, steps=options.steps), _pair_line)
    types = {(record["object"], record["type"]) for record in records}
    print(
        f"{len(records)} pairs of {len(types)} types in {time.perf_counter() - started:.1f} s, "
        f"{sum(record['visible'] for record in records)} visible; look at {Path(options.out) / 'sheet.png'}"
    )


def _surfaces(options: argparse.Namespace) -> None:
    from .datasets.procedural import write_surfaces

    root = write_surfaces(
        options.out, normals=options.normals, defects=options.defects, size=options.size, seed=options.seed
    )
    print(f"procedural surfaces in {root}")


def _inspect(options: argparse.Namespace) -> None:
    from .datasets.inspection import inspect_dataset
    from .datasets.inspection_text import as_json, as_text
    from .datasets.pictures import write_atomic

    inspection = inspect_dataset(options.folder, options.layout, _read_line)
    print(as_text(inspection))
    if options.json:
        write_atomic(options.json, as_json(inspection).encode())
    if inspection.unusable:
        raise ValueError(f"{options.folder}: problems to be mended before it can be used: {inspection.unusable}")


def _split(options: argparse.Namespace) -> None:
    from .datasets.groups import find_groups, groups_from_manifest, groups_from_near_duplicates, groups_from_pattern
    from .datasets.reading import read_dataset
    from .datasets.split import check_leak, make_split, save_split

    samples = read_dataset(options.data, options.types)
    if options.groups:
        groups, source = groups_from_manifest(samples, options.groups, options.column), options.groups
    elif options.pattern:
        groups, source = groups_from_pattern(samples, options.pattern), f"pattern {options.pattern}"
    elif options.ungrouped:
        groups, source = {sample.name: sample.name for sample in samples}, "every image by itself"
    elif options.near_duplicates:
        groups, source = groups_from_near_duplicates(samples), "near-duplicates"
    else:
        groups, source = find_groups(samples, options.data)
    split = make_split(samples, groups, seed=options.seed, share=options.share)
    check_leak(split)
    save_split(split, options.out)
    print(f"{len(set(groups.values()))} groups from {source}; {options.out}")
    sides = {side: set(getattr(split, side)) for side in ("train", "held_back", "dropped")}
    for object, type in sorted({(sample.object, sample.type) for sample in samples}):
        names = {sample.name for sample in samples if (sample.object, sample.type) == (object, type)}
        print(f"  {object}/{type}: " + ", ".join(f"{len(names & held)} {side}" for side, held in sides.items()))


def _train_base(options: argparse.Namespace) -> None:
    from .evaluation.base_run import train_base_file
    from .training.base import BaseTraining

    settings = BaseTraining(
        resolution=options.resolution, autoencoder_steps=options.autoencoder_steps, steps=options.steps,
        batch=options.batch, seed=options.seed, precision=options.precision,
    )  # fmt: skip
    record = train_base_file(
        options.data, options.split, options.out, settings,
        types=options.types, resume=options.resume, device=_device(options), report=_training_line,
    )  # fmt: skip
    print(f"{options.out}: {record['parameters'] / 1e6:.2f} M parameters")
    for side, quality in record["quality"].items():
        print(f"  autoencoder, {side}: PSNR {quality['psnr']:.1f} dB; contrast kept (gate {quality['gate']}):")
        for label, kept in quality["contrast_kept"].items():
            flag = "" if kept >= quality["gate"] else "  BELOW THE GATE"
            print(f"    {label}: {kept:.2f} over {quality['counts'][label]}{flag}")


def _train(options: argparse.Namespace) -> None:
    from .training.adapter_run import train_adapter_file
    from .training.fast import FastTraining
    from .training.stage import StageTraining

    if options.tokens_of and options.method == "fast":
        raise ValueError("--tokens-of keeps another adapter's tokens for STAGE's heads; it needs --method stage.")
    if options.widths and options.method == "fast":
        raise ValueError("--widths are those of STAGE's heads; they need --method stage.")
    widths = {"widths": tuple(options.widths)} if options.widths else {}
    settings = (StageTraining if options.method == "stage" else FastTraining)(
        steps=options.steps, batch=options.batch, tokens=options.tokens, patience=options.patience, seed=options.seed,
        checkpointing=options.checkpointing, precision=options.precision, **widths, **_learning_rate(options),
    )  # fmt: skip
    notes = train_adapter_file(
        options.data, options.split, options.base, options.out, settings, types=options.types,
        tokens_file=options.tokens_of, aware=not options.unaware, resume=options.resume, device=_device(options),
        report=_training_line,
    )  # fmt: skip
    memory = notes["memory"]["bytes"] / 1e9
    print(f"{options.out}: {notes['training_images']} images, {notes['seconds']:.0f} s, {memory:.2f} GB for gradients")
    for type, error in (notes["curve"][-1][1] if notes["curve"] else {}).items():
        print(f"  {type}: {_ERRORS[options.method].format(error)}")


def _import_stage(options: argparse.Namespace) -> None:
    from .modules.adapter_file import save_adapter
    from .modules.stage_import import import_stage

    out = Path(options.out)
    if out.suffix != ".safetensors" or out.exists():
        raise ValueError(f"Import STAGE: the output {out} must be a .safetensors file that does not exist yet.")
    adapter = import_stage(options.embeddings, options.fine_image, options.fine_mask)
    save_adapter(out, adapter)
    print(f"{out}: {len(adapter.types)} types, {adapter.shapes['count']} tokens each, for {adapter.base.kind}")


def _learning_rate(options: argparse.Namespace) -> dict:
    """The method's own where none is given."""
    return {} if options.learning_rate is None else {"learning_rate": options.learning_rate}


def _synthesize(options: argparse.Namespace) -> None:
    from .datasets.pairs import read_dropped
    from .synthesis.folder import Source, synthesize
    from .synthesis.pair import Settings
    from .synthesis.policy import Policy

    policy = Policy(options.policy, options.redraw, options.rounds)
    settings = Settings(
        preset=options.preset, steps=options.steps, guidance=options.guidance, aware=not options.unaware,
        context=options.context, mode=options.compose, feather=options.feather, farm=options.farm,
        farm_until=options.farm_until, graded=options.graded,
    )  # fmt: skip
    source = Source(
        options.data, options.split, options.base, options.types, options.normals.replace("-", "_"),
        options.foreign_base, options.adapter,
    )  # fmt: skip
    started = time.perf_counter()
    records, threshold = synthesize(
        source, options.out, options.count, settings,
        seed=options.seed, policy=policy, negatives=options.negatives, resume=options.resume,
        device=_device(options), report=_pair_line,
    )  # fmt: skip
    print(
        f"{len(records)} pairs in {options.out}, {sum(record['visible'] for record in records)} visible "
        f"(strength over {threshold:.2f}), {time.perf_counter() - started:.0f} s"
    )
    if policy.name == "drop":
        print(f"{len(read_dropped(options.out))} of {options.count} dropped as not visible; see dropped.jsonl")
    if policy.name == "refine":
        _print_gain(records)
    for (object, type), found in sorted(_by_type(records).items()):
        low, middle, high = (sorted(r["contrast"] for r in found)[int(q * (len(found) - 1))] for q in (0.1, 0.5, 0.9))
        print(
            f"  {object}/{type}: {len(found)}, {sum(r['visible'] for r in found) / len(found):.0%} visible, "
            f"signed contrast {middle:+.2f} [{low:+.2f} {high:+.2f}]"
        )


def _print_gain(records: list[dict]) -> None:
    from .synthesis.refine import gain

    found = gain(records)
    visible, calls = ("{:.0%} to {:.0%}".format(*found["visible"]), "{:.0f} to {:.0f}".format(*found["calls"]))
    near = "-" if found["nearest_real"][0] is None else "{:.2f} to {:.2f}".format(*found["nearest_real"])
    print(f"  refined from first draw to kept: visible {visible}, nearest real defect {near}, calls a pair {calls}")


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluation.report import write_report
    from .evaluation.segmenter.training import Training
    from .evaluation.study import Study, run_study
    from .synthesis.pair import Settings

    seeds, count, steps = _QUICK if options.quick else (options.seeds, options.count, options.steps)
    training = Training(steps=steps, device=_device(options))
    study = Study(
        options.data, options.split, tuple(options.methods), tuple(options.networks), seeds, count,
        options.base, tuple(options.adapter), tuple(options.types) if options.types else None, options.textures,
        Settings(), training,
    )  # fmt: skip
    cells = []
    try:
        for cell in run_study(study, options.out, _study_line, validated=options.validate):
            cells.append(cell)
    finally:  # what is done is told, also where Ctrl-C ends the sitting
        if cells:
            print(f"\n{write_report(cells, Path(options.out), options.against)}\n{Path(options.out) / 'report.html'}")


def _read_line(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"read: {done}/{of}  ", end="\n" if done == of else "\r", file=sys.stderr, flush=True)


def _study_line(what: str, done: int, of: int) -> None:
    print(f"{what}: {done}/{of}  ", end="\n" if done == of or not sys.stdout.isatty() else "\r", flush=True)


def _batch(options: argparse.Namespace) -> None:
    from .batch.commands import run_command

    run_command(options, lambda text: print(text, end="", flush=True), sys.stdout.isatty())


def _by_type(records: list[dict]) -> dict[tuple[str, str], list[dict]]:
    found: dict[tuple[str, str], list[dict]] = {}
    for record in records:
        found.setdefault((record["object"], record["type"]), []).append(record)
    return found


def _device(options: argparse.Namespace) -> str:
    import torch

    try:
        torch.empty(1, device=options.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {options.device} cannot be used ({reason}); cpu always can.") from error
    return options.device


def _pair_line(index: int, item, pair, visible: bool) -> None:
    flag = "" if visible else "  NOT VISIBLE"
    print(
        f"{index:6d}  {pair.job.object}/{pair.job.type}  visibility {pair.visibility:.2f}  "
        f"strength {pair.strength:.2f}  contrast {pair.contrast:+.2f}  {pair.seconds:.2f} s{flag}",
        flush=True,
    )


def _training_line(phase: str, step: int, steps: int, loss: float, rate: float) -> None:
    left = (steps - step) / rate / 60
    end = "\n" if step == steps or not sys.stdout.isatty() else "\r"
    print(f"{phase} {step}/{steps}  loss {loss:.4f}  {rate:.2f} steps/s  {left:.1f} min left  ", end=end, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anomaly-synthesis",
        description="Synthesize industrial defects: from a normal image, a mask and an anomaly type to a checked pair.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = _command(commands, "demo", _demo, "16 pairs from the bundled base, with a contact sheet")
    demo.add_argument("--out", required=True, help="folder for pairs and sheet.png; an unfinished demo is continued")
    demo.add_argument("--preset", choices=_PRESETS, default="recommended", help=_PRESET_HELP)
    demo.add_argument("--steps", type=int, default=20, help=_STEPS_HELP)

    surfaces = _command(commands, "surfaces", _surfaces, "write procedural surfaces with exact masks, MVTec layout")
    surfaces.add_argument("--out", required=True, help="folder to make")
    surfaces.add_argument("--normals", type=int, default=60, help="normal images per material (60)")
    surfaces.add_argument("--defects", type=int, default=20, help="defect images per material and type (20)")
    surfaces.add_argument("--size", type=int, default=256, help="side in pixels (256)")
    surfaces.add_argument("--seed", type=int, default=0, help=_SEED_HELP)

    inspect = _command(
        commands, "inspect", _inspect,
        "tell what a data folder holds (objects, types, counts, sizes, masks by area) and what is wrong with it; exit "
        "code 1 where something must be mended before the folder can be used",
    )  # fmt: skip
    inspect.add_argument("folder", metavar="DIR", help="the data folder")
    inspect.add_argument("--layout", choices=_LAYOUTS, help="what to read it as (found out)")
    inspect.add_argument("--json", metavar="FILE", help="write all of it as JSON, too")

    split = _command(
        commands, "split", _split,
        "split the images into training and held-back, by group, into a split.json; groups come from a manifest.csv "
        "with a group column in or beside the data, else from near-duplicates",
    )  # fmt: skip
    _data(split)
    split.add_argument("--out", required=True, help="the split.json to write")
    source = split.add_mutually_exclusive_group()
    source.add_argument("--groups", metavar="CSV", help="groups from a manifest with the columns file and --column")
    source.add_argument("--pattern", metavar="REGEX", help="groups from file names: the first capture group")
    source.add_argument("--near-duplicates", action="store_true", help="groups of images that look alike")
    source.add_argument("--ungrouped", action="store_true", help="every image is a group: no part appears twice")
    split.add_argument("--column", default="group", help="the manifest's column (group)")
    split.add_argument("--share", type=float, default=1 / 3, help="share of the defect images that trains (1/3)")
    split.add_argument("--seed", type=int, default=0, help=_SEED_HELP)

    train = _command(
        commands, "train-base", _train_base,
        "train a compact base, autoencoder, then UNet; the defaults take about two hours on two cores",
    )  # fmt: skip
    _data(train)
    train.add_argument("--split", required=True, help="split.json; only its training part is read for training")
    train.add_argument("--out", required=True, help="the base to write, .safetensors")
    train.add_argument("--resolution", type=int, default=128, help="side of the crops in pixels (128)")
    train.add_argument("--steps", type=int, default=6000, help="steps of the UNet (6000)")
    train.add_argument("--autoencoder-steps", type=int, default=4000, help="steps of the autoencoder (4000)")
    train.add_argument("--batch", type=int, default=16, help="crops per step (16)")
    train.add_argument("--seed", type=int, default=0, help=_SEED_HELP)
    train.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="auto: bf16 on a GPU")
    train.add_argument("--resume", action="store_true", help="continue a killed run; same result as an unbroken one")
    _device_option(train)

    adapter = _command(commands, "train", _train, "train an adapter on a compact base: one for all defect types")
    _data(adapter)
    adapter.add_argument("--method", choices=("fast", "stage"), default="fast",
                         help="fast: anomaly tokens and FARM (default); stage: tokens and both MGA heads")  # fmt: skip
    adapter.add_argument("--split", required=True, help="split.json; only its training part is read")
    adapter.add_argument("--base", required=True, help="a compact base trained under this split, .safetensors")
    adapter.add_argument("--out", required=True, help="the adapter to write, .safetensors")
    adapter.add_argument("--steps", type=int, default=2000, help="optimiser steps (2000)")
    adapter.add_argument("--batch", type=int, default=4, help="crops per step (4)")
    adapter.add_argument("--learning-rate", type=float, help="peak learning rate (fast 1.5e-4, stage 1e-3)")
    adapter.add_argument("--tokens", type=int, default=8, help="anomaly tokens per type (8)")
    adapter.add_argument("--tokens-of", metavar="FILE",
                         help="stage: keep the tokens of this adapter, and train the heads alone")  # fmt: skip
    adapter.add_argument("--widths", nargs="+", type=int, metavar="CHANNELS",
                         help="stage: of the heads' layers, multiples of 16 (64 256 512 256 64, the paper's; for a\n"
                         "compact base 32 64 128 64 32 take a tenth of the time)")  # fmt: skip
    adapter.add_argument("--patience", type=int, default=0,
                         help="looks at held-out images without a gain before the end, 0 is never (0)")  # fmt: skip
    adapter.add_argument("--unaware", action="store_true", help="the base is not told mask and background (the papers)")
    adapter.add_argument("--checkpointing", choices=("auto", "on", "off"), default="auto",
                         help="less memory, a third more time; auto: where a GPU's memory is short")  # fmt: skip
    adapter.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="auto: bf16 on a GPU")
    adapter.add_argument("--seed", type=int, default=0, help=_SEED_HELP)
    adapter.add_argument("--resume", action="store_true", help="continue a killed run; same result as an unbroken one")
    _device_option(adapter)

    released = _command(
        commands, "import-stage", _import_stage,
        "turn the files that STAGE's own code writes into one adapter; their pickles are read, never run",
    )  # fmt: skip
    released.add_argument("--embeddings", required=True, metavar="FILE", help="embeddings*.pt, the anomaly tokens")
    released.add_argument("--fine-image", required=True, metavar="FILE", help="fine_image*.pt, the anomaly-aware head")
    released.add_argument("--fine-mask", required=True, metavar="FILE", help="fine_mask*.pt, the anomaly-only head")
    released.add_argument("--out", required=True, help="the adapter to write, .safetensors")

    make = _command(commands, "synthesize", _synthesize, "make checked pairs of image and mask, MVTec layout")
    _data(make)
    make.add_argument("--base", required=True, help="a compact base, .safetensors")
    make.add_argument("--adapter", nargs="+", metavar="FILE",
                      help="an adapter of `train`; one of FAST and one of STAGE work together")  # fmt: skip
    make.add_argument("--graded", choices=_GRADED,
                      help="parts of STAGE (stage with its adapter, else none); stage-paper wants 1000 steps")
    make.add_argument("--farm", type=float, default=1.0, help="FARM's share in the mask, 0 leaves it out (1)")
    make.add_argument("--farm-until", type=float, help="time 0 to 999 below which FARM rests (40; paper: 2)")
    make.add_argument("--split", required=True, help="split.json; masks come from its training part")
    make.add_argument("--normals", choices=("train", "held-back"), default="train",
                      help="part that the normal images come from (train); held-back is for studies")  # fmt: skip
    make.add_argument("--count", type=int, required=True, help="pairs to make")
    make.add_argument("--steps", type=int, default=20, help=_STEPS_HELP)
    make.add_argument("--preset", choices=_PRESETS, default="recommended", help=_PRESET_HELP)
    make.add_argument("--guidance", type=float, default=2.0, help="classifier-free guidance, 1 is off (2)")
    make.add_argument("--unaware", action="store_true", help="do not tell the model mask and background (the papers)")
    make.add_argument("--context", type=float, default=1.0, help="context per side, in lengths of the mask's box (1)")
    make.add_argument("--compose", choices=("difference", "paste"), default="difference",
                      help="difference keeps the surface's fine texture (default); paste: the papers")  # fmt: skip
    make.add_argument("--feather", type=int, default=0, help="pixels of fade-in inside the mask's edge (0)")
    make.add_argument("--foreign-base", action="store_true",
                      help="accept a base of another split (it may know what is held back)")  # fmt: skip
    make.add_argument("--policy", choices=_POLICIES, default="keep",
                      help="keep all pairs and flag those that are not visible (default), drop those, or refine:\n"
                      "make each --rounds times more, seeds and settings varied, and keep the best")  # fmt: skip
    make.add_argument("--rounds", type=int, default=3, help="of --policy refine; each costs as much as a pair (3)")
    make.add_argument("--redraw", type=int, default=0,
                      help="new seeds where a pair is not visible, before it is kept or dropped (0)")  # fmt: skip
    make.add_argument("--negatives", type=int, default=64,
                      help="normal re-samples behind the threshold of strength; more are steadier (64)")  # fmt: skip
    make.add_argument("--seed", type=int, default=0, help=_SEED_HELP)
    make.add_argument("--out", required=True, help="folder to make")
    make.add_argument("--resume", action="store_true", help="continue in an existing folder of the same settings")
    _device_option(make)

    study = _command(
        commands, "evaluate", _evaluate,
        "train segmentation networks with and without synthetic pairs, test them on the held-back part, and report",
    )  # fmt: skip
    _data(study)
    study.add_argument("--split", required=True, help="split.json: the training part trains, the held-back part tests")
    study.add_argument("--out", required=True, help="folder; cells that are there stay, so that a study continues")
    study.add_argument("--methods", nargs="+", required=True, metavar="METHOD",
                       help="real-only, cutpaste, cutpaste-scar, draem, copy-paste, aias, aias-unaware, fast,\n"
                       "fast-no-farm, stage, fast-and-stage; sampled otherwise: aias@steps=10, "
                       "fast@preset=paper,steps=50,farm=0, stage@graded=mga-aif")  # fmt: skip
    study.add_argument("--against", nargs="+", default=[], metavar="METHOD",
                       help="compare with these, too, not only with the best baseline")  # fmt: skip
    study.add_argument("--networks", nargs="+", default=["small_unet"], metavar="NETWORK",
                       help="small_unet (default), segformer")  # fmt: skip
    study.add_argument("--seeds", type=int, default=3, help="training and sampling seeds, 0 to this (3)")
    study.add_argument("--count", type=int, default=200, help="pairs per type and seed (200)")
    study.add_argument("--steps", type=int, default=600,
                       help="training steps of every network (600); --validate tells whether they suffice")
    study.add_argument("--validate", action="store_true",
                       help="train every cell once more with a fifth of the training groups held out, to see whether "
                       "its method's trainings reach a plateau")  # fmt: skip
    study.add_argument("--quick", action="store_true",
                       help="{} seeds, {} pairs per type, {} steps: better or worse? The report states its own noise"
                       .format(*_QUICK))
    study.add_argument("--base", help="compact base trained under this split, for the methods that sample")
    study.add_argument("--adapter", nargs="+", default=[], metavar="FILE",
                       help="adapters of `train` on that base, for the fast and stage methods; those trained with "
                       "--unaware serve aware=false")  # fmt: skip
    study.add_argument("--textures", help="folder of DRAEM's textures (the procedural surfaces)")
    _device_option(study)

    if (Path(__file__).parent / "batch").is_dir():  # the registry's archive has no code that opens connections
        from .batch.arguments import add_arguments

        add_arguments(_command(commands, "batch", _batch, "make thousands of pairs with ComfyUI servers, to the end"))
    return parser


def _command(commands, name: str, function, description: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=description, description=description, epilog=_LAYOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(command=function)
    return parser


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="data folder: one object, or several")
    parser.add_argument("--types", nargs="+", metavar="TYPE", help="defect types to use (all)")


def _device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")


if __name__ == "__main__":
    sys.exit(main())
