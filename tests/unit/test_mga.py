"""MGA: an untrained head changes nothing, any size, no mixing of items, the released layout, and every condition has an
effect."""

import pytest
import torch
from anomaly_synthesis.modules.mga import MGA

from .refusals import refused

SMALL = (16, 32, 32, 16, 16)


def _inputs(size=(7, 5), channels=4):
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 1, *size)
    mask[..., size[0] // 2, size[1] // 2] = 1
    return torch.randn(2, channels, *size, generator=generator), mask, torch.tensor([10.0, 900.0])


def _trained(**options):
    torch.manual_seed(0)
    head = MGA(4, branch="aware", widths=SMALL, **options).eval()
    torch.nn.init.normal_(head.conv[-1].weight)
    return head


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 16)])
@pytest.mark.parametrize("channels", [4, 16])
def test_an_untrained_head_is_the_denoiser_exactly(size, channels):
    eps, mask, t = _inputs(size, channels)
    head = MGA(channels, widths=SMALL)
    assert torch.equal(head(eps, mask, t), eps)


def test_its_first_gradient_reaches_the_last_layer():
    eps, mask, t = _inputs()
    head = MGA(4, branch="aware", widths=SMALL)
    (head(eps, mask, t) - 1).abs().mean().backward()
    assert head.conv[-1].weight.grad.abs().max() > 0


def test_mask_and_time_change_the_answer_and_a_mask_may_serve_all_items():
    head, (eps, mask, t) = _trained(), _inputs()
    plain = head(eps, mask, t)
    for other in (head(eps, 1 - mask, t), head(eps, mask, t.flip(0))):
        assert (other - plain).abs().max() > 1e-3
    assert torch.equal(head(eps, mask[:1], t), plain)


def test_an_item_alone_is_the_item_of_a_batch():
    for released in (False, True):
        head, (eps, mask, t) = _trained(released=released), _inputs()
        assert torch.allclose(head(eps, mask, t)[1:], head(eps[1:], mask[1:], t[1:]), atol=1e-5)


def test_the_released_form_has_the_released_layout():
    head = MGA(4, branch="aware", released=True)
    names = {name.rsplit(".", 1)[0] for name in head.state_dict()}
    assert names == {f"conv.{i}" for i in (0, 3, 6, 9, 12, 15, 1, 4, 7, 10, 13)}
    assert head.conv[0].weight.shape == (64, 8, 3, 3) and head.conv[15].weight.shape == (4, 64, 1, 1)
    assert sum(weight.numel() for weight in head.parameters()) == pytest.approx(2.66e6, rel=0.01)
    eps, mask, t = _inputs()
    head.eval()
    expected = head.conv(torch.cat([eps, mask.repeat(1, 4, 1, 1)], 1))
    assert torch.equal(head(eps, mask, t), expected) and torch.equal(head(eps, mask, t.flip(0)), expected)


def test_both_forms_have_the_paper_s_size():
    ours = sum(weight.numel() for weight in MGA(4, branch="only").parameters())
    assert ours == pytest.approx(2.66e6, rel=0.02)


@pytest.mark.parametrize("change", [{"branch": "both"}, {"latent_channels": 0}, {"widths": (64, 100)}, {"widths": ()}])
def test_bad_input_is_refused(change):
    with refused(subject="MGA", got="branch", accepted="aware or only"):
        MGA(**({"latent_channels": 4, "branch": "aware"} | change))
