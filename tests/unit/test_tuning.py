"""A base trained on from another one: its types, what it sees of the normal surface, and the command."""

import json

import numpy as np
import pytest
import torch
from anomaly_synthesis import cli
from anomaly_synthesis.choices import DEFECTS
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.surfaces.crops import draw_on
from anomaly_synthesis.images.pictures import Picture
from anomaly_synthesis.modules.base_file import load_base, save_base
from anomaly_synthesis.modules.compact_ldm import CompactLDM, CompactLDMConfig
from anomaly_synthesis.modules.unet import UNet
from anomaly_synthesis.samplers.schedule import alphas_cumprod
from anomaly_synthesis.synthesis.normal_fill import normal_fill
from anomaly_synthesis.training.crops import DrawnCrops, PictureCache, TuningCrops

ANY = tuple(("any", type) for type in ("good", *DEFECTS))


def general(edits=True):
    torch.manual_seed(0)
    config = CompactLDMConfig(ANY, 32, 4, (16, 16), (32, 64), appearance=True, edits=edits)
    return CompactLDM(config).eval().requires_grad_(False)


def test_a_network_that_edits_answers_the_told_surface_where_it_has_learned_nothing():
    """Its last layer starts at zero: x0 is then the background, whatever the noise, and no scale of it is lost."""
    unet = UNet(4, (32, 64), 8, edits=True).eval()
    background, noise = 3 * torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    t = torch.tensor([999, 999])
    abar = alphas_cumprod().float()[t][:, None, None, None]
    state = abar.sqrt() * background + (1 - abar).sqrt() * noise
    v = unet(state, t, torch.zeros(2, 1, 8), torch.ones(2, 1, 8, 8), background)
    x0 = abar.sqrt() * state - (1 - abar).sqrt() * v
    assert (x0 - background).abs().max() < 0.4  # sqrt(abar) of the noise, .07, is left
    unet.outlet[-1].bias.data[4:] = 50  # the gates: nothing changes anywhere
    for level in (999, 300, 10):
        t, abar = torch.tensor([level] * 2), alphas_cumprod().float()[level]
        state = abar.sqrt() * background + (1 - abar).sqrt() * noise
        v = unet(state, t, torch.zeros(2, 1, 8), torch.ones(2, 1, 8, 8), background)
        assert (abar.sqrt() * state - (1 - abar).sqrt() * v - background).abs().max() < 1e-4


def test_a_base_that_edits_is_shown_what_lies_under_the_mask():
    mask, background = torch.zeros(1, 1, 8, 8), torch.ones(1, 4, 8, 8)
    mask[..., :4, :] = 1
    assert (general().shown(mask, background) == 1).all()
    assert (general(edits=False).shown(mask, background) == 1 - mask).all()


def test_normal_fill_does_not_see_the_defect():
    normal = np.full((40, 40, 3), 120, np.uint8)
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[16:24, 16:24] = True
    images = [Picture(np.where(mask.numpy()[..., None], np.uint8(value), normal)) for value in (0, 255)]
    filled = [normal_fill(general(), image, mask, seed=3) for image in images]
    assert all(np.array_equal(one.pixels[~mask.numpy()], normal[~mask.numpy()]) for one in filled)
    again = normal_fill(general(), images[0], mask, seed=3)
    assert np.array_equal(again.pixels, filled[0].pixels)


def test_a_drawn_defect_on_a_photograph_changes_its_exact_mask_alone():
    picture = np.random.default_rng(0).integers(90, 130, (64, 64, 3), dtype=np.uint8)
    found = draw_on(picture, np.random.default_rng(1), ("pit", "scratch"))
    assert found.type in ("pit", "scratch") and found.exact.any() and (found.exact <= found.requested).all()
    assert np.array_equal(found.image[~found.exact], picture[~found.exact])
    assert np.abs(found.image[found.exact].astype(int) - picture[found.exact]).max() > 8


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    assert cli.main(["surfaces", "--out", str(folder), "--normals", "3", "--defects", "3", "--size", "64"]) == 0
    split = tmp_path / "split.json"
    assert cli.main(["split", "--data", str(folder), "--out", str(split), "--ungrouped", "--share", "0.5"]) == 0
    return folder, split


def test_tuning_crops_hold_real_and_drawn_defects_each_with_its_normal_surface(data):
    samples = [sample for sample in read_mvtec(data[0]) if sample.object == "cast_grain"]
    own = tuple(sorted({(sample.object, sample.type) for sample in samples}))
    pictures = PictureCache()
    normals = {s: torch.full_like(pictures.read(s)[0], 7) for s in samples if s.type != "good"}
    drawn = DrawnCrops(ANY, 32, 0, 64)
    crops = TuningCrops(samples, (*ANY, *own), 32, pictures, normals, drawn)
    batch = crops.draw(48, torch.Generator().manual_seed(0))
    again = crops.draw(48, torch.Generator().manual_seed(0))
    assert torch.equal(batch.image, again.image) and batch.normal.shape == batch.image.shape
    real = batch.label >= len(ANY)
    assert 12 <= int((real & batch.defect).sum()) <= 34 and (batch.label[~real & batch.defect] > 0).any()
    changed = (batch.image != batch.normal).any(1, keepdim=True)
    assert not (changed & (batch.mask == 0))[~real].any()
    assert batch.appearance[real].isnan().all()


@pytest.mark.slow
def test_the_command_trains_a_base_on_and_resumes(data, tmp_path, capsys):
    folder, split = data
    save_base(tmp_path / "general.safetensors", general(), {"drawn": 8})
    options = ["--data", str(folder), "--split", str(split), "--steps", "2", "--batch", "2"]
    out = tmp_path / "tuned.safetensors"
    command = ["train-base", *options, "--init", str(tmp_path / "general.safetensors"), "--out", str(out)]
    assert cli.main(command) == 0
    tuned, record = load_base(out)
    assert record["split"] == json.loads(split.read_text())["digest"] and len(record["init"]) == 16
    assert tuned.config.edits and tuned.config.labels[: len(ANY)] == ANY
    assert ("cast_grain", "crack") in tuned.config.labels
    before = general()
    assert torch.equal(tuned.autoencoder.decoder[0].weight, before.autoencoder.decoder[0].weight)
    row = tuned.label("cast_grain", "crack")
    assert (tuned.tokens[row] - before.tokens[before.label("any", "crack")]).abs().max() < 0.01
    assert cli.main([*command, "--resume"]) == 0
    assert cli.main(["train-base", "--drawn", "--init", "bundled", "--out", str(tmp_path / "x.safetensors")]) == 1
    assert "--init" in capsys.readouterr().err
