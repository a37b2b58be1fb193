"""Distance to the nearest real defect, in features that are known and in the base's own."""

from dataclasses import replace

import pytest
import torch
from anomaly_synthesis.synthesis.nearest import RealDefects, encoded_features, latent_features
from anomaly_synthesis.synthesis.pair import Settings, make_pairs
from anomaly_synthesis.synthesis.plan import Plan

KIND = ("tile", "crack")
MASK = torch.zeros(8, 8, dtype=torch.bool)
MASK[2:4, 2:4] = True


def features(crops, masks):
    """Mean inside the mask, and mean of the crop."""
    return torch.stack([torch.stack([crop[:, mask].mean(), crop.mean()]) for crop, mask in zip(crops, masks)])  # noqa: B905


def real(*levels, groups=None):
    groups = groups or [str(number) for number in range(len(levels))]
    return RealDefects(features, {KIND: [(group, torch.tensor([level, 0.5])) for group, level in zip(groups, levels)]})  # noqa: B905


def made(level):
    crop = torch.full((3, 8, 8), 0.5)
    crop[:, MASK] = level
    return crop + (0.5 - crop.mean()) * ~MASK * 64 / 60, MASK


def test_a_copy_of_a_real_defect_is_at_0_and_a_typical_one_at_1():
    known = real(0.1, 0.2, 0.3, 0.4)
    distances = known.distances([KIND] * 3, [made(level) for level in (0.2, 0.5, 0.9)])
    assert distances == [pytest.approx(0, abs=1e-4), pytest.approx(1, rel=1e-3), pytest.approx(5, rel=1e-3)]


def test_images_of_one_group_do_not_make_real_defects_look_near_to_each_other():
    levels = (0.1, 0.1001, 0.3, 0.3001)
    apart = real(*levels).distances([KIND], [made(0.5)])[0]
    grouped = real(*levels, groups=["a", "a", "b", "b"]).distances([KIND], [made(0.5)])[0]
    assert grouped == pytest.approx(1, rel=1e-2) and apart > 100


def test_types_without_two_groups_of_real_defects_have_no_distance():
    assert real(0.3, 0.4, groups=["a", "a"]).distances([KIND], [made(0.3)]) == [None]
    assert real(0.3, 0.4).distances([("tile", "dent"), KIND], [made(0.3)] * 2)[0] is None
    assert real(0.3, 0.4).distances([], []) == []


def test_the_reason_for_a_missing_distance_is_reported():
    known = real(0.3, 0.4)
    assert known.unknown(KIND) is None and "none of tile / dent" in known.unknown(("tile", "dent"))
    assert "all of one group" in real(0.3, 0.4, groups=["a", "a"]).unknown(KIND)
    assert "the same ones" in real(0.3, 0.3).unknown(KIND)


def test_latents_of_continued_crops_are_read_where_the_crop_is():
    """A crop of 12 px under a ratio of 8: the latent has 2 x 2 cells, of which the defect lies in one."""
    crops = torch.full((1, 3, 12, 12), 0.5)
    mask = torch.zeros(1, 12, 12, dtype=torch.bool)
    mask[0, 8:12, 1:3] = True
    latents = torch.tensor([[[[1.0, 2.0], [7.0, 3.0]]]])
    found = encoded_features(lambda seen: latents, multiple=8)(crops, mask)
    assert found.shape == (1, 7) and found[0, 0] == pytest.approx(7 - 2)


def test_latent_features_see_the_defect_and_not_the_brightness_of_the_crop(tiny_base):
    generator = torch.Generator().manual_seed(0)
    surface = 0.5 + 0.05 * torch.randn(64, 64, generator=generator).expand(3, -1, -1)
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[20:30, 24:40] = True
    crops = torch.stack([surface, torch.where(mask, surface - 0.4, surface), surface])
    found = latent_features(tiny_base)(crops, mask.expand(3, -1, -1))
    assert found.shape == (3, 3 * tiny_base.config.latent_channels + 4) and found.isfinite().all()
    assert torch.equal(found[0], found[2]) and (found[0] - found[1]).abs().max() > 1


@pytest.mark.parametrize("box", [(0, 0, 64, 64), (63, 63, 1, 1)], ids=["all", "one pixel"])
def test_latent_features_of_extreme_masks_are_finite(tiny_base, box):
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, box[0] : box[0] + box[2], box[1] : box[1] + box[3]] = True
    assert latent_features(tiny_base)(torch.rand(1, 3, 64, 64), mask).isfinite().all()


def test_pairs_are_measured_only_where_real_defects_are_given(tiny_base, samples, train_part):
    plan, settings = Plan(train_part, train_part, 0), Settings(steps=2)
    jobs = [plan.item(index).job for index in range(3)]
    known = RealDefects.measured(samples, latent_features(tiny_base), tiny_base.config.resolution, settings.context)
    pairs = make_pairs(tiny_base, jobs, settings, real=known)
    alone = make_pairs(tiny_base, jobs, settings)
    for pair, other in zip(pairs, alone, strict=True):
        assert pair.nearest_real > 0 and other.nearest_real is None
        assert replace(pair, nearest_real=None, seconds=0).entries == replace(other, seconds=0).entries


def test_measuring_reports_every_image_and_can_be_stopped_there(samples):
    seen, defects = [], sum(sample.mask is not None for sample in samples)
    RealDefects.measured(samples, features, 64, 1.0, report=lambda *progress: seen.append(progress))
    assert seen == [(number, defects) for number in range(1, defects + 1)] and defects > 2

    def stop(done, total):
        if done == 2:
            raise InterruptedError

    calls = []
    with pytest.raises(InterruptedError):
        RealDefects.measured(samples, lambda *given: calls.append(1) or features(*given), 64, 1.0, report=stop)
    assert len(calls) == 2
