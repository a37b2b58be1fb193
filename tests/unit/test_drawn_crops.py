"""Drawn crops: a seed and an index give one crop, masks say what changed, every type shows on most surfaces."""

import numpy as np
import pytest
import torch
from anomaly_synthesis.datasets.surfaces.crops import draw_crop, measured_appearance
from anomaly_synthesis.datasets.surfaces.defects import TYPES
from anomaly_synthesis.datasets.surfaces.materials import FAMILIES
from anomaly_synthesis.datasets.surfaces.request_masks import KINDS, requested_mask
from anomaly_synthesis.evaluation.base_run import train_general_base_file
from anomaly_synthesis.modules.base_file import load_base
from anomaly_synthesis.modules.compact_ldm import CompactLDM, CompactLDMConfig
from anomaly_synthesis.training.base import BaseTraining
from anomaly_synthesis.training.crops import NORMALS, DrawnCrops

from .refusals import refused


def test_a_crop_depends_on_seed_and_index_alone():
    first, again, other = draw_crop(3, 5, 64), draw_crop(3, 5, 64), draw_crop(3, 6, 64)
    for name in ("normal", "image", "exact", "requested"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert first.appearance == again.appearance and not np.array_equal(first.normal, other.normal)


@pytest.mark.parametrize("type", TYPES)
def test_a_type_changes_its_mask_alone_and_is_seen(type):
    families = set()
    for index in range(8):
        crop = draw_crop(1, index, 96, [type])
        changed = (crop.image != crop.normal).any(-1)
        assert not (changed & ~crop.exact).any() and crop.type == type
        assert changed[crop.exact].mean() > 0.5
        assert (crop.exact & ~crop.requested).sum() == 0
        assert np.abs(crop.image[crop.exact].astype(float) - crop.normal[crop.exact]).max(-1).mean() > 6
        families.add(crop.family)
    assert len(families) > 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_varies_and_is_no_blank(family):
    crops = [draw_crop(2, index, 64, families=[family]) for index in range(6)]
    means = [crop.normal.mean() for crop in crops]
    assert np.ptp(means) > 5 and all(3 < mean < 252 for mean in means)


def test_requested_masks_hold_the_defect_and_are_wider():
    exact = np.zeros((64, 64), bool)
    exact[30:33, 20:45] = True
    sizes = {}
    for kind in KINDS:
        masks = [requested_mask(exact, np.random.default_rng(seed), kind)[0] for seed in range(8)]
        assert all(mask[exact].all() for mask in masks)
        sizes[kind] = np.mean([mask.sum() for mask in masks])
    assert sizes["exact"] == exact.sum() < min(sizes["stroke"], sizes["dabs"], sizes["box"])


def test_appearance_measures_sign_strength_and_edge():
    normal = np.full((40, 40, 3), 120, np.uint8)
    y, x = np.mgrid[:40, :40] - 20
    mask = np.hypot(y, x) < 15
    flat, soft = normal.copy(), normal.astype(float)
    flat[mask] += 40
    soft[mask] -= 60 * np.exp(-((np.hypot(y, x)[mask] / 7) ** 2))[:, None]
    lighter = measured_appearance(normal, flat, mask)
    darker = measured_appearance(normal, soft.astype(np.uint8), mask)
    assert lighter.contrast == pytest.approx(0.5, abs=0.01) and lighter.strength == pytest.approx(0.5, abs=0.01)
    assert darker.contrast < -0.1 and lighter.softness == 0 and darker.softness > 0.4


@pytest.mark.parametrize(
    ("given", "subject", "got", "accepted"),
    [
        ({"side": 16}, "side", "16 px", "32 or more"),
        ({"types": ["rust"]}, "type", "'rust'", "scratch, "),
        ({"families": []}, "family", "none", "brushed, ground, "),
        ({"index": -1}, "index", "-1", "0 or more"),
        ({"seed": -2}, "seed", "-2", "0 or more"),
    ],
)
def test_bad_input_names_what_is_accepted(given, subject, got, accepted):
    with refused(subject=f"^{subject}$", got=f"^{got}$", accepted=accepted):
        draw_crop(**{"seed": 0, "index": 0} | given)


def test_batches_repeat_and_hold_normal_surface_under_masks():
    labels = (("any", "good"), *(("any", type) for type in TYPES))
    crops = DrawnCrops(labels, 32, 0, 12)
    first, again = (crops.draw(48, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.image, again.image) and torch.equal(first.mask, again.mask)
    assert abs((~first.defect).float().mean().item() - NORMALS) < 0.2
    assert first.appearance[~first.defect].isnan().all() and not first.appearance[first.defect].isnan().all()
    assert first.mask.flatten(1).any(1).all()


def test_a_base_that_knows_appearance_attends_to_it_and_another_refuses():
    labels = (("any", "good"), ("any", "pit"))
    sizes = {"resolution": 32, "autoencoder_widths": (8, 16), "unet_widths": (32, 32), "token_channels": 32}
    base = CompactLDM(CompactLDMConfig(labels, appearance=True, **sizes))
    free = base.context([1])
    partly = base.context([1], torch.tensor([[0.5, float("nan"), 0.0]]))
    assert free.shape == partly.shape == (1, 7, 32)
    same = (free == partly).all(-1)[0].tolist()
    assert same == [True] * 4 + [False, True, False]
    with refused(subject="contrast, strength and softness", got="cannot be asked"):
        CompactLDM(CompactLDMConfig(labels, **sizes)).context([1], torch.zeros(1, 3))


def test_a_base_trains_on_drawn_crops_alone_and_knows_every_type(tmp_path):
    settings = BaseTraining(resolution=32, autoencoder_steps=2, steps=2, batch=2)
    record = train_general_base_file(tmp_path / "general.safetensors", settings, pool=4)
    base, kept = load_base(tmp_path / "general.safetensors")
    assert kept == record and set(record["quality"]["drawn"]["counts"]) == set(TYPES)
    assert base.config.labels == (("any", "good"), *(("any", type) for type in TYPES)) and base.config.appearance
