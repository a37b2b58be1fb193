"""What AIAS itself costs per step, as a share of one call of the denoiser.

    python benchmarks/sampler_cost.py --json cost.json

The denoiser is a UNet of at least 20 million parameters on latents [1, 4, 64, 64] (an image of 512 x 512). The
sampler's own work is timed with a model that returns a tensor made before. Both are timed in turn, round by round, so
that other load of the machine affects both equally; medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from anomaly_synthesis.modules.unet import UNet
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.grid import aias_grid, grid_sigmas
from anomaly_synthesis.samplers.presets import preset
from anomaly_synthesis.samplers.schedule import ldm_sigmas
from torch import Tensor

SHAPE = (1, 4, 64, 64)
STEPS = 10
WIDTHS, TOKENS = (128, 256, 448), (8, 256)  # tokens: count, width
FEWEST_PARAMETERS = 20e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which medians are taken (default 7)")
    parser.add_argument("--repeats", type=int, default=20, help="sampler runs per round (default 20)")
    parser.add_argument("--device", default="cpu", help="torch device (default cpu)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    figures = measure(options.rounds, options.repeats, torch.device(options.device))
    print(
        f"denoiser {figures['parameters'] / 1e6:.1f} M parameters, {figures['denoiser_ms']:.1f} ms per call; "
        f"{figures['device']}, {figures['threads']} threads, torch {figures['torch']}"
    )
    print("sampler | own ms per step | share of a denoiser call")
    for name, row in figures["samplers"].items():
        print(f"{name} | {row['ms_per_step']:.3f} | {row['percent']:.2f} %")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(rounds: int, repeats: int, device: torch.device) -> dict:
    call, parameters = denoiser(device)
    runs = sampler_runs(device)
    calls, own = [], {name: [] for name in runs}
    call()
    for run in runs.values():
        run()
    for _ in range(rounds):
        calls.append(seconds(call, STEPS, device))
        for name, run in runs.items():
            own[name].append(seconds(run, repeats, device) / STEPS)
    one_call = statistics.median(calls)
    samplers = {}
    for name, times in own.items():
        per_step = statistics.median(times)
        samplers[name] = {"ms_per_step": 1e3 * per_step, "percent": 100 * per_step / one_call}
    return {
        "parameters": parameters,
        "shape": SHAPE,
        "steps": STEPS,
        "rounds": rounds,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "denoiser_ms": 1e3 * one_call,
        "denoiser_ms_spread": [1e3 * min(calls), 1e3 * max(calls)],
        "samplers": samplers,
    }


def denoiser(device: torch.device) -> tuple[Callable[[], Tensor], int]:
    """One bare call of a large UNet, and how many parameters it has."""
    network = UNet(SHAPE[1], WIDTHS, TOKENS[1]).to(device).eval().requires_grad_(False)
    parameters = sum(p.numel() for p in network.parameters())
    if parameters < FEWEST_PARAMETERS:
        raise RuntimeError(f"the denoiser has {parameters} parameters; a fair share needs {FEWEST_PARAMETERS:.0f}")
    x, t = torch.randn(SHAPE, device=device), torch.full((SHAPE[0],), 500.0, device=device)
    tokens = torch.randn(SHAPE[0], *TOKENS, device=device)
    return torch.inference_mode()(lambda: network(x, t, tokens)), parameters


def sampler_runs(device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Whole runs of STEPS steps with a model that costs nothing."""
    made, background = torch.randn(SHAPE, device=device), torch.randn(SHAPE, device=device)
    mask = torch.zeros(SHAPE[0], 1, *SHAPE[2:], device=device)
    mask[..., 16:40, 20:50] = 1
    known = {"mask": mask, "background": background}

    def runner(name: str, masked: dict) -> Callable[[], Tensor]:
        grid, sampler = preset(name, STEPS)
        sigmas = grid_sigmas(aias_grid(**grid), ldm_sigmas()).float()
        x = sigmas[0] * torch.randn(SHAPE, device=device)
        return lambda: sample_aias(lambda x, sigma: made, x, sigmas, seeds=[0], **masked, **sampler)

    return {"plain": runner("paper", {}), "masked": runner("recommended", known), "fast": runner("fast", known)}


def seconds(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Seconds per call of `work`, over `repeats` calls."""
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    wait()
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    wait()
    return (time.perf_counter() - started) / repeats


if __name__ == "__main__":
    main()
