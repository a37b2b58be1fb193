"""Run by a host's own Python: loads the pack as core does, and samples with core's sampler and with ours."""

import asyncio
import importlib
import json
import sys
import time

host, repository = sys.argv[1:]
sys.path.insert(0, host)
sys.argv = sys.argv[:1]

import comfy.cli_args  # noqa: E402

comfy.cli_args.args.cpu = True

import torch  # noqa: E402
from comfy.k_diffusion.sampling import sample_euler_ancestral  # noqa: E402

import nodes  # noqa: E402

for dependency in ("scipy.fft", "scipy.ndimage", "scipy.sparse.linalg"):  # ComfyUI's own, for the nodes that need them
    importlib.import_module(dependency)

known, before = set(sys.modules), time.process_time()
loaded = asyncio.run(nodes.load_custom_node(repository))
seconds = time.process_time() - before
added = sorted({name.partition(".")[0] for name in set(sys.modules) - known})
pack = next(m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == f"{repository}/__init__.py")

aias = importlib.import_module(pack.__name__ + ".samplers.aias")
grid = importlib.import_module(pack.__name__ + ".samplers.grid")
schedule = importlib.import_module(pack.__name__ + ".samplers.schedule")


class Gaussian:
    """Exact denoiser of N(1, .25), under the names that core's samplers read of a model."""

    class inner_model:
        class inner_model:
            model_sampling = None

    def __call__(self, x, sigma, **_):
        s = sigma.view(-1, 1, 1, 1) ** 2
        return (0.25 * x + s) / (0.25 + s)


def noise_source():
    generator = torch.Generator().manual_seed(5)
    return lambda sigma_s, sigma_e: torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)


sigmas = grid.grid_sigmas(grid.aias_grid(20), schedule.ldm_sigmas())
x = torch.randn(2, 4, 8, 8, dtype=torch.float64) * sigmas[0]
core = sample_euler_ancestral(Gaussian(), x, sigmas, disable=True, noise_sampler=noise_source())
ours = aias.sample_aias(Gaussian(), x, sigmas, noise_sampler=noise_source())
print(
    json.dumps({"loaded": loaded, "seconds": seconds, "added": added, "difference": (core - ours).abs().max().item()})
)
