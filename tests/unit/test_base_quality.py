"""The quality check of the autoencoder: kept contrast, which PSNR does not measure."""

from types import SimpleNamespace

import pytest
import torch
from anomaly_synthesis.evaluation.base_quality import base_quality


class _Base:
    """An autoencoder that keeps `share` of every deviation from the crop's mean."""

    config = SimpleNamespace(resolution=64)
    latent_mean = torch.zeros(1)

    def __init__(self, share):
        self.share = share

    def encode(self, image):
        return image

    def decode(self, latent):
        mean = latent.mean((2, 3), keepdim=True)
        return mean + self.share * (latent - mean)


@pytest.mark.parametrize(("share", "passes"), [(1.0, True), (0.92, True), (0.5, False)])
def test_contrast_kept_is_the_share_of_contrast_that_survives(samples, share, passes):
    measured = base_quality(_Base(share), samples)
    assert set(measured.contrast_kept) == {
        "brushed_metal/pit",
        "brushed_metal/scratch",
        "brushed_metal/stain",
        "cast_grain/crack",
        "cast_grain/pit",
        "cast_grain/stain",
    }
    assert all(kept == pytest.approx(share, abs=1e-3) for kept in measured.contrast_kept.values())
    assert measured.passes is passes and set(measured.counts.values()) == {3}


def test_psnr_falls_with_the_error(samples):
    assert base_quality(_Base(1.0), samples).psnr > base_quality(_Base(0.9), samples).psnr > 15
