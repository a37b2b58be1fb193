"""Pair statistics on pictures whose numbers are known."""

import pytest
import torch
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.pairs import PairWriter
from anomaly_synthesis.evaluation.pair_statistics import Defect, measure, measure_samples, summary
from anomaly_synthesis.images.pictures import Picture
from anomaly_synthesis.synthesis.scores import seam


def picture(level=0.8, size=64, seed=0, noise=0.05):
    image = 0.5 + noise * torch.randn(size, size, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[20:34, 24:40] = True
    return torch.where(mask, image + level - 0.5, image).expand(3, -1, -1), mask


def test_a_bright_patch_has_positive_contrast_and_a_seam_and_no_patch_has_neither():
    bright, dark, none = (measure(*picture(level)) for level in (0.8, 0.2, 0.5))
    assert bright.contrast > 4 and dark.contrast < -4 and abs(none.contrast) < 0.3
    assert bright.seam > 3 and none.seam == pytest.approx(1, abs=0.25)


def test_the_share_that_refined_masks_keep_is_over_the_pairs_that_have_one(tmp_path):
    image, mask = picture()
    shown, half = Picture((image * 255).byte().permute(1, 2, 0).numpy()), mask.clone()
    half[27:] = False
    with PairWriter(tmp_path, {}) as writer:
        for index, refined in enumerate((half, None, mask)):
            names = dict(object="tile", type="pit", stem=str(index))
            writer.write(
                index=index, picture=shown, mask=mask, normal_source=shown, record={}, refined_mask=refined, **names
            )
    made = measure_samples(read_mvtec(tmp_path))
    assert [defect.refined for defect in made] == [0.5, None, 1.0]
    assert summary(made, [])["refined"] == 0.75 and summary(made[1:2], [])["refined"] is None


def test_a_mask_over_the_whole_picture_has_no_edge():
    image, mask = picture()
    assert seam(image, torch.ones_like(mask)) == 1.0


def test_pairs_that_repeat_one_defect_have_no_diversity_and_copies_of_real_ones_are_near():
    real = [measure(*picture(0.8, seed=seed)) for seed in range(6)]
    same = summary([real[0]] * 5, real)
    assert same["diversity"] == pytest.approx(0, abs=1e-3) and same["nearest"] == pytest.approx(0, abs=1e-3)
    others = summary([measure(*picture(0.8, seed=seed)) for seed in range(10, 16)], real)
    assert others["diversity"] == pytest.approx(1, abs=0.3) and others["nearest"] == pytest.approx(1, abs=0.3)
    assert others["visible"] == 1 and others["contrast_low"] <= others["contrast"] <= others["contrast_high"]


def test_too_little_to_compare_is_none():
    one = Defect(1.0, 1.0, torch.randn(32 * 32))
    assert summary([one], [])["nearest"] is None and summary([one], [one])["diversity"] is None
