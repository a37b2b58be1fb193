"""What the nodes cost inside ComfyUI: KSampler (AIAS) against core's KSampler, and Crop to Mask against whole images.

    path/to/host/python -P benchmarks/overhead.py --comfyui path/to/ComfyUI --out overhead.json

Runs inside ComfyUI's own process, with its Python, on the CPU.

1. Sampler. Core's KSampler with euler_ancestral is given the levels, the latent and the mask that KSampler (AIAS) works
   with. The model is core's SD1.5 UNet, 320 channels, 2 levels of 1 block, random weights, on small latents: the less
   the model does, the larger the sampler's share. Runs of the two alternate. A run is the sum of its pieces (up to the
   first call of the UNet, each call, between calls, after the last), each the median over the rounds. The UNet sees the
   same shapes in both, which is checked; on a shared machine its calls vary by more than all the samplers' own work. So
   the first ratio uses one time per call, the median of all of them, and each sampler's own time around it. The second
   compares whole runs as measured; the third compares two runs of core's, which shows the resolution of the second.
   Intervals are a bootstrap over rounds.
2. Crop. One 10 x 10 px defect on square images, bundled base: the chain of nodes from Crop to Mask to Compose Pair,
   and the same without Crop to Mask. Medians over rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[1]
LATENT, TOKENS = (1, 4, 16, 16), (1, 77, 768)
MASKED = slice(4, 10)  # rows and columns of the latent's mask
DEFECT = 10
RESAMPLES = 2000
WHOLE = ("whole_ratio", "core_to_core")
ROWS = [(False, 1.0), (True, 1.0), (False, 2.0), (True, 2.0)]  # masked, cfg
Pieces = list[float]  # seconds of a run: at even indices outside the UNet, at odd ones a call of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--comfyui", type=Path, required=True, metavar="DIR", help="folder of ComfyUI")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which medians are taken (default 7)")
    parser.add_argument("--steps", type=int, default=8, help="steps against core's KSampler (default 8, 0 skips it)")
    parser.add_argument("--crop-steps", type=int, default=3, help="steps of a run with and without crop (default 3)")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="*",
        default=[128, 256, 512, 1024],
        metavar="PX",
        help="images with and without crop (default 128 256 512 1024; none skips this part)",
    )
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures there as JSON")
    options = parser.parse_args()
    if options.rounds < 2 or options.crop_steps < 1 or options.steps == 1:
        parser.error("rounds must be 2 or more, crop-steps 1 or more, steps 2 or more (or 0)")
    torch.set_num_threads(options.threads)
    load_host(options.comfyui.resolve())
    import comfyui_version

    figures = {
        "comfyui": comfyui_version.__version__,
        "torch": torch.__version__,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "rounds": options.rounds,
    }
    print(", ".join(f"{name} {value}" for name, value in figures.items()))
    with torch.inference_mode():
        if options.steps:
            figures["sampler"] = against_core(options.rounds, options.steps)
        gc.collect()
        if options.sizes:
            figures["crop"] = against_whole(options.rounds, options.crop_steps, options.sizes)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


def load_host(folder: Path) -> None:
    """Load ComfyUI into this process, on the CPU, and the pack into it."""
    sys.path.insert(0, str(folder))
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    import nodes

    if not asyncio.run(nodes.load_custom_node(str(REPOSITORY))):
        raise RuntimeError("ComfyUI did not load the pack; see its log above")


def node(name: str, **inputs) -> tuple:
    """Outputs of one of the pack's nodes."""
    import nodes

    return nodes.NODE_CLASS_MAPPINGS[f"SIAS_{name}"].execute(**inputs).args


class Watch:
    """Splits a run at the start and end of every call of a network, and keeps the inputs of the last run's calls."""

    def __init__(self, network: torch.nn.Module):
        self.marks: list[float] = []
        self.given: set[tuple] = set()
        network.register_forward_pre_hook(self._begin)
        network.register_forward_hook(lambda *_: self.marks.append(time.perf_counter()))

    def run(self, work: Callable[[], object]) -> tuple[object, Pieces]:
        """The result of `work`, and the pieces of its run."""
        self.marks.clear()
        self.given.clear()
        started = time.perf_counter()
        made = work()
        marks = [started, *self.marks, time.perf_counter()]
        return made, [end - begin for begin, end in zip(marks, marks[1:], strict=False)]

    def _begin(self, _network, given) -> None:
        self.given.add((given[0].shape, given[0].stride(), given[0].dtype))
        self.marks.append(time.perf_counter())


# Against core's KSampler


def against_core(rounds: int, steps: int) -> dict:
    model, parameters = sd15_like()
    watch = Watch(model.model.diffusion_model)
    print(
        f"\nKSampler (AIAS) against core's KSampler (euler_ancestral): UNet of {parameters / 1e6:.1f} M parameters, "
        f"latents {list(LATENT)}, {steps} steps\n"
        "latent | cfg | ms per call of the UNet | ms per step outside it: AIAS | core | ratio at one time per call "
        "[95 %] | of whole runs | core to core"
    )
    rows = []
    for masked, cfg in ROWS:
        row = {"mask": masked, "cfg": cfg} | core_row(model, watch, masked, cfg, rounds, steps)
        rows.append(row)
        ratios = ("{:.4f} [{:.4f} {:.4f}]", row["ratio"]), *(("{:.2f} [{:.2f} {:.2f}]", row[n]) for n in WHOLE)
        print(
            f"{'masked' if masked else 'empty'} | {cfg:g} | {row['unet_ms']:.1f} | {row['outside_ms_per_step']:.2f} "
            f"| {row['core_outside_ms_per_step']:.2f} | {' | '.join(f.format(*values) for f, values in ratios)}",
            flush=True,
        )
    return {"parameters": parameters, "latent": LATENT, "steps": steps, "rows": rows}


def core_row(model, watch: Watch, masked: bool, cfg: float, rounds: int, steps: int) -> dict:
    runs = sampler_runs(model, masked, cfg, steps)
    taken: dict[str, list[Pieces]] = {name: [] for name in runs}
    given = []
    for name, run in runs.items():
        made, pieces = watch.run(run)
        given.append(set(watch.given))
        if len(pieces) != 2 * steps + 1 or given[-1] != given[0] or not torch.isfinite(made).all():
            raise RuntimeError(f"{name}: {len(pieces) // 2} calls for {steps} steps, of {given[-1]}, or NaN came out")
    for count in range(rounds):
        order = list(runs)
        for name in order[count % 3 :] + order[: count % 3]:
            taken[name].append(watch.run(runs[name])[1])
    outside = {name: [pieces[::2] for pieces in rows] for name, rows in taken.items()}
    call = statistics.median(seconds for rows in taken.values() for pieces in rows for seconds in pieces[1::2])
    at_one_time = {name: [[*pieces, steps * call] for pieces in rows] for name, rows in outside.items()}
    return {
        "unet_ms": 1e3 * call,
        "outside_ms_per_step": 1e3 * typical(outside["aias"]) / steps,
        "core_outside_ms_per_step": 1e3 * typical(outside["core"]) / steps,
        "ratio": ratio(at_one_time["aias"], at_one_time["core"]),
        "whole_ratio": ratio(taken["aias"], taken["core"]),
        "core_to_core": ratio(taken["core again"], taken["core"]),
    }


def sampler_runs(model, masked: bool, cfg: float, steps: int) -> dict[str, Callable[[], torch.Tensor]]:
    """The node and core's KSampler on the same latent, levels, mask and conditioning."""
    import comfy.sample
    import latent_preview

    samples, mask = torch.zeros(LATENT), None
    if masked:
        samples, mask = torch.randn(LATENT), torch.zeros(LATENT[0], 1, *LATENT[2:])
        mask[..., MASKED, MASKED] = 1
    latent = {"samples": samples} | ({"noise_mask": mask} if masked else {})
    (sigmas,) = node("AIASSigmas", model=model, steps=steps, kind="quadratic", refine=min(2, steps - 1), denoise=1.0)
    positive, negative = ([[torch.randn(TOKENS), {}]] for _ in range(2))

    def aias() -> torch.Tensor:
        (made,) = node(
            "KSamplerAIAS",
            model=model,
            seed=1,
            steps=steps,
            cfg=cfg,
            preset="recommended",
            positive=positive,
            negative=negative,
            latent_image=latent,
            denoise=1.0,
        )
        return made["samples"]

    def core() -> torch.Tensor:
        # A copy of nodes.common_ksampler, which takes no levels, without its progress bar.
        known = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
        noise = comfy.sample.prepare_noise(known, 1, None)
        callback = latent_preview.prepare_callback(model, steps)
        return comfy.sample.sample(
            model,
            noise,
            steps,
            cfg,
            "euler_ancestral",
            "normal",
            positive,
            negative,
            known,
            noise_mask=mask,
            sigmas=sigmas,
            callback=callback,
            disable_pbar=True,
            seed=1,
        )

    return {"aias": aias, "core": core, "core again": core}


def sd15_like():
    """Core's SD1.5 UNet with 2 levels of 1 block, all 320 channels wide, random weights; and its parameter count."""
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.SD15(
        comfy.supported_models.SD15.unet_config
        | {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "num_res_blocks": [1, 1],
            "channel_mult": [1, 1],
            "transformer_depth": [1, 1],
            "transformer_depth_output": [1, 1, 1, 1],
            "transformer_depth_middle": 1,
            "use_spatial_transformer": True,
            "legacy": False,
            "dtype": torch.float32,
        }
    )
    model = config.get_model({})
    network = model.diffusion_model.eval().requires_grad_(False)
    torch.manual_seed(0)
    for layer in network.modules():  # core leaves the weights uninitialised
        for name, weight in layer.named_parameters(recurse=False):
            if name == "bias":
                weight.zero_()
            elif weight.ndim == 1:
                weight.fill_(1)
            else:
                weight.normal_(std=weight[0].numel() ** -0.5)
    patcher = comfy.model_patcher.ModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    return patcher, sum(p.numel() for p in network.parameters())


def typical(rows: Sequence[Sequence[float]]) -> float:
    """Sum over the pieces of a run of their medians over the runs."""
    return sum(statistics.median(piece) for piece in zip(*rows, strict=True))


def ratio(ours: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> list[float]:
    """typical(ours) / typical(others) and the ends of its 95 % interval; rounds are resampled in pairs."""
    chance, drawn = random.Random(0), []
    for _ in range(RESAMPLES):
        picked = chance.choices(range(len(ours)), k=len(ours))
        drawn.append(typical([ours[i] for i in picked]) / typical([others[i] for i in picked]))
    drawn.sort()
    return [typical(ours) / typical(others), drawn[round(0.025 * RESAMPLES)], drawn[round(0.975 * RESAMPLES)]]


# With and without Crop to Mask


def against_whole(rounds: int, steps: int, sizes: Sequence[int]) -> dict:
    model, vae, resolution = node("LoadAnomalyLDM", base_name="surfaces (bundled)", aware=True)
    watch = Watch(model.model.diffusion_model)
    print(
        f"\none {DEFECT} x {DEFECT} px defect, bundled base, {steps} steps, guidance off; ms\n"
        "image | cropped | Crop to Mask | encode | UNet | rest of KSampler | decode x 2 | Compose Pair | all "
        "| scaling part / ((window / image)^2 of whole)"
    )
    rows = []
    for size in sizes:
        chains = {
            True: chain(model, vae, resolution, size, steps, watch),
            False: chain(model, vae, None, size, steps, watch),
        }
        taken: dict[bool, list[dict[str, float]]] = {True: [], False: []}
        chains[True]()
        for count in range(rounds):
            taken[True].append(chains[True]())
            # A whole image of 1024 px takes 20 seconds: two rounds are enough to see a factor.
            if count < max(2, rounds * 256 // size):
                taken[False].append(chains[False]())
        pair = {}
        for cropped in (True, False):
            parts = {part: 1e3 * statistics.median(t[part] for t in taken[cropped]) for part in taken[cropped][0]}
            pair[cropped] = parts | {"size": size, "cropped": cropped, "ms": sum(parts.values())}
        fair = (resolution / size) ** 2
        pair[True]["scaling"] = scaling(pair[True]) / (fair * scaling(pair[False]))
        for cropped, row in pair.items():
            rows.append(row)
            cells = [row[part] for part in ("crop", "encode", "unet", "sampler", "decode", "compose", "ms")]
            print(
                f"{size} | {'yes' if cropped else 'no'} | {' | '.join(f'{cell:.1f}' for cell in cells)} | "
                + (f"{row['scaling']:.2f}" if cropped else ""),
                flush=True,
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process {peak:.1f} GiB")
    return {"steps": steps, "resolution": resolution, "peak_gib": peak, "rows": rows}


def scaling(row: dict) -> float:
    """The parts that grow with the model's input: encoding, sampling (with its own work) and decoding."""
    return row["encode"] + row["unet"] + row["sampler"] + row["decode"]


def chain(model, vae, resolution: int | None, size: int, steps: int, watch: Watch) -> Callable[[], dict[str, float]]:
    """One picture from mask to pair, and the seconds of its parts; `resolution` None: without Crop to Mask."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, size, size, 3), generator=generator).float() / 255
    mask = torch.zeros(1, size, size)
    start = 2 * size // 5
    mask[:, start : start + DEFECT, start : start + DEFECT] = 1
    positive, negative = node("AnomalyConditioning", model=model, object="brushed_metal", type="scratch")

    def run() -> dict[str, float]:
        times = [time.perf_counter()]
        shown, shown_mask, crop = image, mask, None
        if resolution:
            shown, shown_mask, crop = node("CropToMask", image=image, mask=mask, resolution=resolution, context=1.0)
        times.append(time.perf_counter())
        (latent,) = node("DefectLatent", image=shown, mask=shown_mask, vae=vae, crop=crop)
        times.append(time.perf_counter())
        (made,), pieces = watch.run(
            lambda: node(
                "KSamplerAIAS",
                model=model,
                seed=1,
                steps=steps,
                cfg=1.0,
                preset="recommended",
                positive=positive,
                negative=negative,
                latent_image=latent,
                denoise=1.0,
            )
        )
        times.append(time.perf_counter())
        decoded, roundtrip = vae.decode(made["samples"]), vae.decode(latent["samples"])
        times.append(time.perf_counter())
        node(
            "ComposePair",
            normal=image,
            mask=mask,
            made=decoded,
            roundtrip=roundtrip,
            mode="difference",
            feather=0,
            visible_above=1.0,
            crop=crop,
        )
        times.append(time.perf_counter())
        cut, encode, sample, decode, compose = (b - a for a, b in zip(times, times[1:], strict=False))
        unet = sum(pieces[1::2])
        return {
            "crop": cut,
            "encode": encode,
            "unet": unet,
            "sampler": sample - unet,
            "decode": decode,
            "compose": compose,
        }

    return run


if __name__ == "__main__":
    main()
