"""The base: shapes, optional inputs, guidance, and its file."""

import json
import pickle

import pytest
import torch
from anomaly_synthesis.modules.base_file import file_digest, load_base, save_base
from anomaly_synthesis.modules.compact_ldm import CompactLDM, CompactLDMConfig
from safetensors.torch import save_file

from .refusals import refused


def _latents(base, size=(16, 16)):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, *size, generator=generator)
    mask = torch.zeros(2, 1, *size)
    mask[:, :, 4:9, 5:7] = 1
    return x, mask, torch.randn(2, 4, *size, generator=generator)


def test_encode_and_decode_shapes_and_range(tiny_base):
    latent = tiny_base.encode(torch.rand(1, 3, 64, 48))
    assert latent.shape == (1, 4, 16, 12)
    image = tiny_base.decode(latent)
    assert image.shape == (1, 3, 64, 48) and image.min() >= 0 and image.max() <= 1


def test_any_latent_size_runs(tiny_base):
    for size in ((16, 16), (13, 9), (3, 17)):
        x, mask, background = _latents(tiny_base, size)
        assert tiny_base.denoiser([0, 1], mask, background)(x, torch.ones(2)).shape == x.shape


def test_mask_background_and_label_each_change_the_estimate(tiny_base):
    x, mask, background = _latents(tiny_base)
    sigma = torch.full((2,), 3.0)
    plain = tiny_base.denoiser([0, 1])(x, sigma)
    aware = tiny_base.denoiser([0, 1], mask, background)(x, sigma)
    other_place = tiny_base.denoiser([0, 1], mask.roll(5, -1), background)(x, sigma)
    other_label = tiny_base.denoiser([1, 0])(x, sigma)
    for other in (aware, other_label):
        assert (plain - other).abs().max() > 1e-4
    assert (aware - other_place).abs().max() > 1e-4


def test_what_lies_under_the_mask_does_not_reach_the_model(tiny_base):
    x, mask, background = _latents(tiny_base)
    hidden = background + 100 * mask
    sigma = torch.full((2,), 3.0)
    first, again = (tiny_base.denoiser([0, 1], mask, b)(x, sigma) for b in (background, hidden))
    assert torch.equal(first, again)


def test_guidance_one_is_conditional_and_zero_unconditional(tiny_base):
    x, mask, background = _latents(tiny_base)
    sigma = torch.full((2,), 3.0)
    one, two, zero = (tiny_base.denoiser([0, 1], mask, background, g)(x, sigma) for g in (1.0, 2.0, 0.0))
    row = tiny_base.unconditional
    torch.testing.assert_close(zero, tiny_base.denoiser([row, row], mask, background)(x, sigma))
    torch.testing.assert_close(two, 2 * one - zero, atol=1e-4, rtol=1e-4)


def test_a_change_applies_to_both_estimates_before_guidance_mixes_them(tiny_base):
    x, mask, background = _latents(tiny_base)
    sigma = torch.full((2,), 3.0)
    one, zero = (tiny_base.denoiser([0, 1], mask, background, g)(x, sigma) for g in (1.0, 0.0))
    changed = tiny_base.denoiser([0, 1], mask, background, 2.0, change=lambda x, x0: x0**2 + x)(x, sigma)
    torch.testing.assert_close(changed, 2 * one**2 - zero**2 + x)


def test_a_fresh_denoiser_predicts_from_v_zero():
    base = CompactLDM(CompactLDMConfig(labels=(("o", "good"),), unet_widths=(32, 32), token_channels=32)).eval()
    x, sigma = torch.randn(2, 4, 8, 8), torch.full((2,), 2.0)
    with torch.no_grad():
        torch.testing.assert_close(base.denoiser([0, 0])(x, sigma), x / (1 + 4.0))


def test_unknown_label_names_the_known_ones(tiny_base):
    with refused(subject="^screw/dent$", got="no tokens for it.*brushed_metal/scratch"):
        tiny_base.label("screw", "dent")


def test_file_round_trip(tiny_base, tmp_path):
    path = tmp_path / "base.safetensors"
    save_base(path, tiny_base, {"steps": 3})
    again, record = load_base(path)
    assert record == {"steps": 3} and again.config == tiny_base.config
    before = tiny_base.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in again.state_dict().items())
    assert len(file_digest(path)) == 16 and list(tmp_path.iterdir()) == [path]


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was opened",))


def test_other_files_are_refused(tmp_path):
    pickled, other, cut = (tmp_path / name for name in ("pickle.safetensors", "lora.safetensors", "cut.safetensors"))
    pickled.write_bytes(pickle.dumps(_Bomb()))
    save_file({"a": torch.zeros(2)}, other, {"format": "pt"})
    cut.write_bytes(other.read_bytes()[:20])
    for path, words in (
        (pickled, "never opened"),
        (other, "not a compact base"),
        (cut, "no readable"),
        (tmp_path / "none.safetensors", "no such file"),
    ):
        with refused(subject=f"^{path}$", got=words):
            load_base(path)


def test_a_newer_version_asks_for_an_update(tmp_path):
    path = tmp_path / "new.safetensors"
    metadata = {"format": "anomaly_synthesis.base", "version": "99", "config": json.dumps({}), "record": "{}"}
    save_file({"a": torch.zeros(2)}, path, metadata)
    with refused(subject="new.safetensors$", got="version 99", accepted="^version 1$", remedy="update the pack"):
        load_base(path)


def test_equal_content_gives_equal_bytes(tiny_base, tmp_path):
    paths = [tmp_path / f"{i}.safetensors" for i in range(6)]
    for path in paths:
        save_base(path, tiny_base, {"steps": 3})
    assert len({path.read_bytes() for path in paths}) == 1
