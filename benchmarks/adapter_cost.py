"""What FARM and an MGA head cost beside a denoiser of Stable Diffusion 1.5's size: seconds of one call each.

    path/to/host/python -P benchmarks/adapter_cost.py --comfyui path/to/ComfyUI --out adapter_cost.json

Runs inside ComfyUI's own process, with its Python, on the CPU: core's UNet in SD 1.5's configuration (860 M parameters,
77 tokens of 768 channels), random weights, and for its latents FARM with background and 8 tokens, and an MGA head of
the paper's widths; one latent of 64 x 64. The three run in turn. Processor time is measured, since the machine may have
other work: on one thread it equals the wall time of an idle machine. Reported are the median and the minimum over the
rounds. A share is the seconds relative to a step with one call of the denoiser. Guidance calls the denoiser and the
head twice, and FARM once.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[1]
LATENT, TOKENS, COUNT = (1, 4, 64, 64), (1, 77, 768), 8
SD15 = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "num_heads": 8,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "context_dim": 768,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "adm_in_channels": None,
    "legacy": False,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--comfyui", type=Path, required=True, metavar="DIR", help="folder of ComfyUI")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each, after one that does not count (5)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures there as JSON")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("rounds must be 1 or more")
    torch.set_num_threads(options.threads)
    calls = _calls(options.comfyui)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round in range(options.rounds + 1):
        for name, call in calls.items():
            took = _timed(call)
            if round:
                seconds[name].append(took)
    figures = _figures(seconds) | {"rounds": options.rounds, "threads": options.threads, "torch": torch.__version__}
    print(json.dumps(figures, indent=1))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


def _calls(host: Path) -> dict[str, Callable[[], object]]:
    """One call of the denoiser, of FARM and of a head."""
    sys.argv = sys.argv[:1]  # the host reads its options while it is imported
    sys.path.insert(0, str(host))
    _load_package()
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    import comfy.ldm.modules.diffusionmodules.openaimodel as openai
    import comfy.ops
    from anomaly_synthesis.modules.farm import FARM
    from anomaly_synthesis.modules.mga import MGA

    unet = openai.UNetModel(**SD15, dtype=torch.float32, operations=comfy.ops.disable_weight_init)
    with torch.no_grad():
        for weight in unet.parameters():
            weight.normal_(std=weight[0].numel() ** -0.5) if weight.ndim > 1 else weight.fill_(1)
    farm, head = FARM(LATENT[1], token_channels=TOKENS[2]), MGA(LATENT[1], branch="aware")
    for name, module in (("denoiser", unet), ("FARM", farm), ("MGA head", head)):
        print(f"{name}: {sum(weight.numel() for weight in module.parameters()) / 1e6:.2f} M parameters")
    x, mask, t = torch.randn(LATENT), torch.zeros(1, 1, *LATENT[2:]), torch.tensor([500])
    mask[..., 20:40, 20:40] = 1
    text, tokens = torch.randn(TOKENS), torch.randn(1, COUNT, TOKENS[2])
    return {
        "denoiser": lambda: unet.eval()(x, t, text),
        "farm": lambda: farm.eval()(x, t, mask, x, tokens),
        "mga": lambda: head.eval()(x, mask, t),
    }


def _load_package() -> None:
    """This repository as anomaly_synthesis, which is not installed in a host."""
    spec = importlib.util.spec_from_file_location(
        "anomaly_synthesis", REPOSITORY / "__init__.py", submodule_search_locations=[str(REPOSITORY)]
    )
    sys.modules["anomaly_synthesis"] = importlib.util.module_from_spec(spec)


@torch.inference_mode()
def _timed(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def _figures(seconds: dict[str, list[float]]) -> dict:
    figures = {}
    for name, measure in (("median", statistics.median), ("least", min)):
        values = {kind: measure(taken) for kind, taken in seconds.items()}
        figures[name] = {f"{kind}_s": round(value, 4) for kind, value in values.items()}
        figures[name] |= {f"{kind}_share": round(values[kind] / values["denoiser"], 5) for kind in ("farm", "mga")}
    return figures


if __name__ == "__main__":
    main()
