"""Features of a defect from image embeddings: the defect shows, the surface does not."""

import pytest
import torch
import torch.nn.functional as F
from anomaly_synthesis.synthesis.nearest import RealDefects, embedding_features

KIND = ("tile", "crack")
MASK = torch.zeros(96, 96, dtype=torch.bool)
MASK[30:42, 50:58] = True


def embed(images):
    """A linear encoder that sees 4 x 4 patches of any square image."""
    return F.adaptive_avg_pool2d(images, 4).flatten(1)


def crop(level, surface=0.5, seed=0):
    texture = 0.02 * torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(seed))
    return torch.where(MASK, torch.as_tensor(level), surface + texture)


def shown(*crops, mask=MASK):
    return embedding_features(embed)(torch.stack(crops), mask.expand(len(crops), -1, -1))


def test_the_surface_cancels_and_the_defect_stays():
    dark, same, bright, elsewhere = shown(crop(0.2), crop(0.2, seed=1), crop(0.8), crop(0.5, 0.8, seed=2))
    for found in (same, -bright, elsewhere):  # other texture; the other sign; as dark, on a brighter surface
        assert torch.allclose(dark, found, atol=0.05) and found.norm() == pytest.approx(1)


def test_surface_that_shows_nothing_is_far_from_what_real_defects_have_in_common():
    dark, *others = shown(
        crop(0.2), *(torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(n)) for n in range(8))
    )
    assert max(dark @ other for other in others) < 0.9
    flat = torch.full((3, 96, 96), 0.5)
    assert shown(flat)[0].norm() < 1e-3, "filled with its surroundings it has no direction"


def test_a_defect_fills_its_view_whatever_its_size():
    """A view is twice as wide as the defect, from 32 px up to the crop itself."""
    sizes = []

    def seen(images):
        sizes.append(tuple(images.shape[2:]))
        return embed(images)

    for box, side in (((30, 50, 12, 8), 32), ((0, 95, 1, 1), 32), ((20, 10, 40, 12), 80), ((0, 0, 96, 96), 96)):
        mask = torch.zeros(96, 96, dtype=torch.bool)
        mask[box[0] : box[0] + box[2], box[1] : box[1] + box[3]] = True
        found = embedding_features(seen)(torch.rand(1, 3, 96, 96), mask[None])
        assert found.isfinite().all() and sizes[-1] == (side, side)


def test_real_defects_are_measured_by_them():
    colours = torch.tensor([[0.1, 0.2, 0.3], [0.2, 0.1, 0.3], [0.3, 0.2, 0.1], [0.1, 0.3, 0.2]])[:, :, None, None]
    real = shown(*(crop(colour, seed=n) for n, colour in enumerate(colours)))
    known = RealDefects(embedding_features(embed), {KIND: [(str(n), value) for n, value in enumerate(real)]})
    copy, far = known.distances([KIND] * 2, [(crop(colours[1], seed=1), MASK), (crop(0.9, seed=9), MASK)])
    assert copy == pytest.approx(0, abs=1e-3) and far > 3
