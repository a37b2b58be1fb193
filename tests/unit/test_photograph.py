"""A defect on one photograph: only the area around its mask matters, draws repeat until one is visible, types have
names."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from anomaly_synthesis.images.pictures import Picture
from anomaly_synthesis.images.windows import Window, covered
from anomaly_synthesis.modules.compact_ldm import CompactLDM, CompactLDMConfig, known_type
from anomaly_synthesis.seeds import anomaly_seed
from anomaly_synthesis.synthesis.photograph import best_draw, make_defect
from anomaly_synthesis.synthesis.settings import Look, MakeSettings

from .refusals import refused

LABELS = (("any", "good"), ("any", "crack"), ("any", "pit"))
QUICK = MakeSettings(seed=3, steps=2)


def small_base(**config) -> CompactLDM:
    torch.manual_seed(0)
    sizes = {"resolution": 32, "autoencoder_widths": (8, 16), "unet_widths": (32, 32), "token_channels": 32}
    base = CompactLDM(CompactLDMConfig(LABELS, **sizes, **config)).eval().requires_grad_(False)
    torch.nn.init.normal_(base.unet.outlet[-1].weight, std=0.1)  # it starts at zero: no condition has an effect
    return base


def photograph(size: int = 200) -> tuple[Picture, torch.Tensor]:
    rng = np.random.default_rng(1)
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[90:104, 80:100] = mask[20:24, 150:153] = True
    return Picture(rng.integers(80, 140, (size, size, 3), dtype=np.uint8)), mask


def test_pixels_outside_the_label_stay_and_the_seed_decides():
    base, (picture, mask) = small_base(), photograph()
    for refine in (True, False):
        how = replace(QUICK, refine=refine)
        made, label, draw = make_defect(base, picture, mask, "crack", settings=how)
        again = make_defect(base, picture, mask, "crack", settings=how)[0]
        assert np.array_equal(made.pixels, again.pixels)
        assert np.array_equal(made.pixels[~label.numpy()], picture.pixels[~label.numpy()])
        assert (label <= mask).all() and label.any() and draw.scores.excess is not None
    assert torch.equal(label, mask)


def test_the_position_in_a_large_picture_does_not_matter():
    base, (picture, mask) = small_base(), photograph()
    large = np.full((900, 700, 3), 99, np.uint8)
    there = torch.zeros(900, 700, dtype=torch.bool)
    large[300:500, 400:600], there[300:500, 400:600] = picture.pixels, mask
    ours = make_defect(base, picture, mask, "pit", settings=QUICK)[0]
    theirs = make_defect(base, Picture(large), there, "pit", settings=QUICK)[0]
    assert np.abs(ours.pixels.astype(int) - theirs.pixels[300:500, 400:600]).max() <= 1
    assert np.array_equal(theirs.pixels[:250], large[:250])


def test_an_appearance_reaches_the_base_or_is_refused():
    picture, mask = photograph()
    base = small_base(appearance=True)
    free, conditioned = (
        make_defect(base, picture, mask, "pit", look, replace(QUICK, tries=1, refine=False))[0].pixels
        for look in (Look(), Look(contrast=0.9))
    )
    assert not np.array_equal(free, conditioned)
    with refused(subject="contrast, strength and softness"):
        make_defect(small_base(), picture, mask, "pit", Look(contrast=0.9), QUICK)
    with refused(subject="strength", got="1.5", accepted="0 to 1"):
        Look(strength=1.5)


def test_types_go_by_their_name_or_with_their_object():
    labels = (("plate", "good"), ("plate", "pit"), ("plate", "dent"), ("cup", "good"), ("cup", "pit"))
    assert known_type(labels, "dent") == ("plate", "dent") and known_type(labels, "cup/pit") == ("cup", "pit")
    assert known_type(LABELS, "pit") == ("any", "pit")
    assert known_type(labels, "pit") == ("plate", "pit")
    with refused(subject="type", got="does not know", accepted="plate/pit, plate/dent, cup/pit"):
        known_type(labels, "crack")
    for wanted in ("good", "", "scratch"):
        with refused(subject="type", got="does not know", accepted="crack, pit"):
            known_type(LABELS, wanted)


@dataclass(frozen=True)
class Draw:
    seed: int
    excess: float


def test_the_first_visible_draw_is_kept_else_the_strongest():
    def maker(*excesses):
        left = iter(excesses)
        return lambda seed: Draw(seed, next(left))

    assert best_draw(maker(3.0), 7, 3, 2.0) == Draw(7, 3.0)
    assert best_draw(maker(1.0, 2.5, 9.0), 7, 3, 2.0) == Draw(anomaly_seed(7, 0, 1), 2.5)
    assert best_draw(maker(1.0, 1.5, 1.2), 7, 3, 2.0).excess == 1.5
    assert best_draw(maker(1.0), 7, 1, 2.0).excess == 1.0


def test_the_area_of_windows_is_cut_at_the_image():
    assert covered([Window(-4, 2, 20, 20), Window(30, 10, 20, 10)], (40, 60)) == (slice(0, 40), slice(2, 30))
