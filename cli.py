"""The `anomaly-synthesis` command: what each command calls, and words on the screen, no logic."""

from __future__ import annotations

import argparse
import builtins
import logging
import os
import sys
import time
from pathlib import Path

from .cli_arguments import parser, values_of
from .cli_progress import Bar
from .datasets.settings import ExportSettings, SplitSettings, SurfaceSettings
from .errors import Refused, in_words, out_of_memory
from .evaluation.settings import QUICK, QUICK_TRAINING, Study, Training
from .files.progress import reported
from .files.untrusted_text import LineFormatter, lines_of, one_line
from .synthesis.settings import Look, MakeSettings, Policy, RunSettings, Settings, WorstSettings
from .training.settings import AdapterTraining, BaseTraining, FastTraining, StageTraining

_MEMORY = "lower --batch, --resolution or --widths, make fewer or smaller images at once, or close other programs"
_ERRORS = {
    "fast": "FARM's error on groups held out: {:.2f} (an answer of 0 would have 1)",
    "stage": "the heads' noise error on groups held out: {:.2f} (the base alone has 1)",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong usage."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    options = parser().parse_args(arguments)
    bar = Bar()
    try:
        with reported(bar):
            _COMMANDS[options.command](options)
    except Exception as error:
        if not isinstance(error, ValueError | OSError) and not out_of_memory(error):
            raise
        bar.close()
        if out_of_memory(error):
            _print_error(in_words(error, _MEMORY))
        else:
            _print_error(str(error.with_names(options.flags) if isinstance(error, Refused) else error))
        return 1
    except KeyboardInterrupt:
        bar.close()
        print("interrupted; what was finished is kept, --resume continues it", file=sys.stderr)
        return 1
    return 0


def _print_error(text: str) -> None:
    """Further lines are indented, so that a file's name cannot look like a line of ours."""
    indented = text.replace("\n", "\n  ")
    print(f"error: {indented}", file=sys.stderr)


def print(*values: object, **options) -> None:
    """The builtin one; names of files and answers of servers come from others, and must not control the terminal."""
    builtins.print(*map(lines_of, values), **options)


def _make(options: argparse.Namespace) -> None:
    from .images.mask_files import read_mask
    from .images.pictures import read_picture
    from .modules.base_file import base_path, load_base
    from .synthesis.photograph import make_defect

    out, mask_out = _photograph_files(options)
    base, _ = load_base(base_path(options.base))
    started = time.perf_counter()
    made, mask, draw = make_defect(
        base.to(_device(options)),
        read_picture(options.image),
        read_mask(options.mask),
        options.type,
        Look(**values_of(options, Look)),
        MakeSettings(**values_of(options, MakeSettings)),
    )
    _write_photograph(out, made, mask_out, mask)
    shown = "visible" if draw.visible else "hardly visible: try another seed, --strength 0.6, or another type"
    print(f"{out} and {mask_out}: {mask.sum()} px, {shown}; {time.perf_counter() - started:.1f} s")


def _draw(options: argparse.Namespace) -> None:
    import torch

    from .baselines.drawn import draw_defects
    from .images.mask_files import read_mask
    from .images.pictures import read_picture

    out, mask_out = _photograph_files(options)
    seed = MakeSettings(**values_of(options, MakeSettings)).seed
    made, changed = draw_defects(read_picture(options.image), read_mask(options.mask), options.type, seed)
    _write_photograph(out, made, mask_out, torch.from_numpy(changed))
    print(f"{out} and {mask_out}: {changed.sum()} px")


def _photograph_files(options: argparse.Namespace) -> tuple[Path, Path]:
    """Where the image and its mask go. Raises Refused where one of them would overwrite what is read."""
    out = Path(options.out or f"{Path(options.image).stem}_{options.type.replace('/', '_')}.png")
    if out.suffix != ".png":
        raise Refused(f"--out {out}", "not a .png", remedy="name a .png, which keeps every pixel")
    _check_writable("--out", out)
    files = out, out.with_name(f"{out.stem}_mask.png")
    for path in files:
        if path.resolve() in (Path(options.image).resolve(), Path(options.mask).resolve()):
            raise Refused(path, "it would overwrite what is read", remedy="name another file with --out")
    return files


def _write_photograph(out: Path, made, mask_out: Path, mask) -> None:
    from .images.pictures import write_mask, write_picture

    write_picture(out, made)
    write_mask(mask_out, mask)


def _demo(options: argparse.Namespace) -> None:
    from .synthesis.demo import demo

    started = time.perf_counter()
    records = demo(options.out, Settings(**values_of(options, Settings)), _pair_line)
    types = {(record["object"], record["type"]) for record in records}
    print(
        f"{len(records)} pairs of {len(types)} types in {time.perf_counter() - started:.1f} s, "
        f"{sum(record['visible'] for record in records)} visible; look at {Path(options.out) / 'sheet.png'}"
    )


def _surfaces(options: argparse.Namespace) -> None:
    from .datasets.procedural import write_surfaces

    root = write_surfaces(options.out, **values_of(options, SurfaceSettings))
    print(f"procedural surfaces in {root}")


def _inspect(options: argparse.Namespace) -> None:
    from .datasets.inspection import inspect_dataset
    from .datasets.inspection_sheet import DatasetSheet
    from .datasets.inspection_text import as_json, as_text
    from .files.durable import write_atomic

    for name in ("sheet", "json"):
        _check_writable(f"--{name}", getattr(options, name))
    sheet = DatasetSheet() if options.sheet else None
    inspection = inspect_dataset(options.folder, options.layout, look=sheet and sheet.look)
    print(as_text(inspection))
    if sheet:
        sheet.save(options.sheet, inspection)
    if options.json:
        write_atomic(options.json, as_json(inspection).encode())
    if inspection.unusable:
        raise Refused(options.folder, f"problems to fix before it can be used: {inspection.unusable}")


def _check_writable(option: str, path: str | Path | None) -> None:
    """Raise ValueError where a file could not be written once the work is done."""
    folder = Path(path).absolute().parent if path else None
    if folder and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise Refused(f"{option} {path}", f"{folder} is not a writable folder", remedy="create it, or choose another")


def _split(options: argparse.Namespace) -> None:
    from .datasets.groups import find_groups, groups_from_manifest, groups_from_near_duplicates, groups_from_pattern
    from .datasets.reading import read_dataset
    from .datasets.split import check_leak, make_split, save_split

    samples = read_dataset(options.data, options.types, options.layout)
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
    split = make_split(samples, groups, **values_of(options, SplitSettings))
    check_leak(split)
    save_split(split, options.out)
    print(f"{len(set(groups.values()))} groups from {source}; {options.out}")
    sides = {side: set(getattr(split, side)) for side in ("train", "held_back", "dropped")}
    for object, type in sorted({(sample.object, sample.type) for sample in samples}):
        names = {sample.name for sample in samples if (sample.object, sample.type) == (object, type)}
        name = one_line(f"{object}/{type}")
        print(f"  {name}: " + ", ".join(f"{len(names & held)} {side}" for side, held in sides.items()))


def _train_base(options: argparse.Namespace) -> None:
    from .evaluation.base_run import train_base_file, train_general_base_file
    from .modules.base_file import base_path

    settings = BaseTraining(**values_of(options, BaseTraining))
    if options.drawn and options.init is not None:
        raise Refused("--init", "given with --drawn", remedy="give --data, on which the base trains on")
    shared = {"resume": options.resume, "device": _device(options), "report": _training_line}
    if options.drawn:
        record = train_general_base_file(options.out, settings, options.pool, **shared)
    elif options.split is None:
        raise Refused(
            "--split",
            "missing; --data needs it",
            remedy="make one with `anomaly-synthesis split --data DIR --out split.json`",
        )
    else:
        init = None if options.init is None else base_path(options.init)
        shared |= {"types": options.types, "layout": options.layout}
        record = train_base_file(options.data, options.split, options.out, settings, init, **shared)
    print(f"{options.out}: {record['parameters'] / 1e6:.2f} M parameters")
    for side, quality in record["quality"].items():
        print(f"  autoencoder, {side}: PSNR {quality['psnr']:.1f} dB; contrast kept (gate {quality['gate']}):")
        for label, kept in quality["contrast_kept"].items():
            flag = "" if kept >= quality["gate"] else "  BELOW THE GATE"
            print(f"    {one_line(label)}: {kept:.2f} over {quality['counts'][label]}{flag}")


def _train(options: argparse.Namespace) -> None:
    from .modules.base_file import base_path
    from .training.adapter import train_adapter_file

    if options.tokens_of and options.method == "fast":
        raise Refused("--tokens-of", "it keeps another adapter's tokens for STAGE's heads", remedy="use --method stage")
    if options.widths and options.method == "fast":
        raise Refused("--widths", "FAST has no heads", remedy="use --method stage")
    method = StageTraining if options.method == "stage" else FastTraining
    settings = method(**values_of(options, AdapterTraining), **values_of(options, StageTraining))
    notes = train_adapter_file(
        options.data,
        options.split,
        base_path(options.base),
        options.out,
        settings,
        types=options.types,
        layout=options.layout,
        tokens_file=options.tokens_of,
        aware=not options.unaware,
        resume=options.resume,
        device=_device(options),
        report=_training_line,
    )
    memory = notes["memory"]["bytes"] / 1e9
    print(f"{options.out}: {notes['training_images']} images, {notes['seconds']:.0f} s, {memory:.2f} GB for gradients")
    for type, error in (notes["curve"][-1][1] if notes["curve"] else {}).items():
        print(f"  {one_line(type)}: {_ERRORS[options.method].format(error)}")


def _import_stage(options: argparse.Namespace) -> None:
    from .modules.adapter_file import save_adapter
    from .modules.stage_import import import_stage

    out = Path(options.out)
    if out.suffix != ".safetensors" or out.exists():
        raise Refused("--out", out, "a .safetensors file that does not exist yet")
    adapter = import_stage(options.embeddings, options.fine_image, options.fine_mask)
    save_adapter(out, adapter)
    print(f"{out}: {len(adapter.types)} types, {adapter.shapes['count']} tokens each, for {adapter.base.kind}")


def _synthesize(options: argparse.Namespace) -> None:
    from .datasets.pairs import read_dropped
    from .modules.base_file import base_path
    from .synthesis.folder import Source, synthesize

    policy, settings = Policy(**values_of(options, Policy)), Settings(**values_of(options, Settings))
    source = Source(
        options.data,
        options.split,
        base_path(options.base),
        options.types,
        options.normals.replace("-", "_"),
        options.foreign_base,
        options.adapter,
        options.layout,
    )
    started = time.perf_counter()
    records, threshold = synthesize(
        source,
        options.out,
        settings=settings,
        policy=policy,
        **values_of(options, RunSettings),
        resume=options.resume,
        device=_device(options),
        report=_pair_line,
    )
    print(
        f"{len(records)} pairs in {options.out}, {sum(record['visible'] for record in records)} visible "
        f"(excess over {threshold:.2f}), {time.perf_counter() - started:.0f} s"
    )
    _print_dropped(read_dropped(options.out), options)
    if policy.name == "refine":
        _print_gain(records)
    for (object, type), found in sorted(_by_type(records).items()):
        low, middle, high = (sorted(r["contrast"] for r in found)[int(q * (len(found) - 1))] for q in (0.1, 0.5, 0.9))
        print(
            f"  {one_line(f'{object}/{type}')}: {len(found)}, "
            f"{sum(r['visible'] for r in found) / len(found):.0%} visible, "
            f"signed contrast {middle:+.2f} [{low:+.2f} {high:+.2f}]"
        )


def _print_dropped(dropped: list[dict], options: argparse.Namespace) -> None:
    """How many pairs are not in the folder, why, and what can be done; for "drop" also that none was dropped."""
    blank = sum(not line.get("changed", True) for line in dropped)
    if options.policy == "drop":
        remedy = "" if len(dropped) == blank else " (--redraw 3 tries new seeds for them, --policy keep keeps them)"
        print(f"{len(dropped) - blank} of {options.count} dropped as not visible{remedy}; see dropped.jsonl")
    if blank:
        print(f"{blank} of {options.count} left out as blank: the image equals its normal image inside the mask")


def _print_gain(records: list[dict]) -> None:
    from .synthesis.refine import gain

    found = gain(records)
    visible, calls = ("{:.0%} to {:.0%}".format(*found["visible"]), "{:.0f} to {:.0f}".format(*found["calls"]))
    near = "-" if found["nearest_real"][0] is None else "{:.2f} to {:.2f}".format(*found["nearest_real"])
    print(f"  refined from first draw to kept: visible {visible}, nearest real defect {near}, calls a pair {calls}")


def _export(options: argparse.Namespace) -> None:
    from .datasets.exports.export import export_pairs

    done = export_pairs(
        options.pairs,
        options.out,
        **values_of(options, ExportSettings),
        resume=options.resume,
    )
    print(f"{options.out}: {done.summary()}")


def _worst(options: argparse.Namespace) -> None:
    from .synthesis.sheets import save_worst_sheet
    from .synthesis.worst import summary, value, words, worst_pairs

    worst = worst_pairs(options.pairs, **values_of(options, WorstSettings))
    save_worst_sheet(options.out, worst)
    for line in worst.pairs:
        scores = ", ".join(f"{words(score)} {value(line, score)}" for score in worst.scores)
        print(f"{line['index']:6d}  {one_line(line['image'])}  {scores}")
    print("\n".join([*summary(worst), f"Look at {options.out}."]))


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluation.report import write_report
    from .evaluation.study import run_study
    from .files.folder_lock import Lock
    from .modules.base_file import base_path

    counts, training = values_of(options, Study), values_of(options, Training)
    if options.quick:
        counts, training = counts | QUICK, training | QUICK_TRAINING
    study = Study(
        options.data,
        options.split,
        tuple(options.methods),
        base=options.base and str(base_path(options.base)),
        adapters=tuple(options.adapter),
        types=tuple(options.types) if options.types else None,
        textures=options.textures,
        training=Training(**training, device=_device(options)),
        layout=options.layout,
        shots=tuple(dict.fromkeys(options.shots)),
        pairs=tuple(options.pairs),
        shift=options.shift,
        **counts,
    )
    cells, coming = [], run_study(study, options.out, _study_line, validated=options.validate)
    with Lock(options.out):  # the report belongs to the folder, too
        try:
            for cell in coming:
                cells.append(cell)
        finally:  # what is done is reported, also where Ctrl-C ends the sitting
            if cells:
                report = write_report(cells, Path(options.out), options.against)
                print(f"\n{report}\n{Path(options.out) / 'report.html'}")


def _study_line(what: str, done: int, of: int) -> None:
    print(f"{what}: {done}/{of}  ", end="\n" if done == of or not sys.stdout.isatty() else "\r", flush=True)


def _batch(options: argparse.Namespace) -> None:
    from .batch.commands import run_command

    run_command(options, lambda text: sys.stdout.write(text) and sys.stdout.flush(), sys.stdout.isatty())


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
        raise Refused("--device", f"{options.device} cannot be used ({reason})", remedy="use cpu") from error
    return options.device


def _pair_line(index: int, item, pair, visible: bool) -> None:
    flag = "" if visible else "  NOT VISIBLE"
    print(
        f"{index:6d}  {one_line(f'{pair.job.object}/{pair.job.type}')}  visibility {pair.visibility:.2f}  "
        f"excess {pair.excess:.2f}  contrast {pair.contrast:+.2f}  {pair.seconds:.2f} s{flag}",
        flush=True,
    )


def _training_line(phase: str, step: int, steps: int, loss: float, rate: float) -> None:
    left = (steps - step) / rate / 60
    end = "\n" if step == steps or not sys.stdout.isatty() else "\r"
    print(f"{phase} {step}/{steps}  loss {loss:.4f}  {rate:.2f} steps/s  {left:.1f} min left  ", end=end, flush=True)


_COMMANDS = {
    "make": _make,
    "draw": _draw,
    "demo": _demo,
    "surfaces": _surfaces,
    "inspect": _inspect,
    "split": _split,
    "train-base": _train_base,
    "train": _train,
    "import-stage": _import_stage,
    "synthesize": _synthesize,
    "worst": _worst,
    "export": _export,
    "evaluate": _evaluate,
    "batch": _batch,
}


if __name__ == "__main__":
    sys.exit(main())
