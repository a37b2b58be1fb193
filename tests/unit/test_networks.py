"""Segmentation networks: any size in, the same size out, and sensitivity to the smallest defect."""

import builtins

import pytest
import torch
from anomaly_synthesis.evaluation.networks import NETWORKS
from anomaly_synthesis.evaluation.networks.small_unet import SmallUNet

from .refusals import refused

SIZES = [(1, 1), (7, 50), (64, 64), (33, 95)]


def _new(name: str) -> torch.nn.Module:
    if name == "segformer":
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    return NETWORKS[name]("random").eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_size_gets_one_logit_per_pixel(name):
    network = _new(name)
    for size in SIZES:
        with torch.no_grad():
            logits = network(torch.rand(2, 3, *size))
        assert logits.shape == (2, 1, *size)
        assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("name", "least", "most"), [("unet", 5.1e6, 5.3e6), ("small_unet", 0.2e6, 1e6), ("segformer", 3.5e6, 4e6)]
)
def test_networks_are_of_the_size_they_claim(name, least, most):
    assert least < sum(weight.numel() for weight in _new(name).parameters()) < most


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_learns(name):
    network = _new(name)
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.slow
def test_small_unet_marks_a_defect_of_two_pixels_exactly():
    torch.manual_seed(0)
    image, mask = 0.5 + 0.05 * torch.rand(1, 3, 40, 40), torch.zeros(1, 1, 40, 40)
    mask[..., 17, 22:24] = 1  # on an odd row, so that it shares no 2 x 2 block with itself alone
    image = torch.where(mask > 0, 0.8, image)
    network = SmallUNet()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(80):
        logits = network(image)
        found = logits.sigmoid()
        dice = 1 - 2 * (found * mask).sum() / (found.sum() + mask.sum())
        optimiser.zero_grad()
        (dice + torch.nn.functional.binary_cross_entropy_with_logits(logits, mask)).backward()
        optimiser.step()
    with torch.no_grad():
        assert torch.equal(network(image) > 0, mask > 0)


def test_segformer_without_transformers_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.split(".")[0] == "transformers":
            raise ImportError("No module named 'transformers'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with refused(subject="segformer", remedy="pip install transformers"):
        NETWORKS["segformer"]("random")
