import numpy as np
import pytest
import torch
from anomaly_synthesis.baselines import draem as draem_module
from anomaly_synthesis.baselines import texture_augment
from anomaly_synthesis.baselines.blend import jittered, like
from anomaly_synthesis.baselines.copy_paste import copy_paste, poisson
from anomaly_synthesis.baselines.cutpaste import VARIANTS, cutpaste
from anomaly_synthesis.baselines.draem import Textures, draem, perlin_mask
from anomaly_synthesis.datasets.masks import mask_box, place_mask
from anomaly_synthesis.datasets.pictures import Picture, write_picture
from anomaly_synthesis.datasets.procedural import defect, surface

SIZE = (72, 101)
KINDS = [(np.uint8, 1), (np.uint8, 3), (np.uint16, 1), (np.uint16, 3)]


def picture(dtype=np.uint8, channels=3, size=SIZE, alpha=False, seed=0):
    generator, top = np.random.default_rng(seed), np.iinfo(dtype).max
    pixels = generator.integers(0, top + 1, (*size, channels)).astype(dtype)
    return Picture(pixels, generator.integers(0, top + 1, size).astype(dtype) if alpha else None)


def boxes(*areas, size=SIZE):
    """A mask of rectangles (top, left, height, width)."""
    mask = torch.zeros(size, dtype=torch.bool)
    for top, left, height, width in areas:
        mask[top : top + height, left : left + width] = True
    return mask


def copied(normal, mask, seed):
    return copy_paste(normal, mask, picture(size=(60, 50), seed=seed + 1), boxes((20, 10, 15, 24), size=(60, 50)))


METHODS = {
    "cutpaste": cutpaste,
    "cutpaste-scar": lambda normal, mask, seed: cutpaste(normal, mask, seed, "scar"),
    "draem": lambda normal, mask, seed: draem(normal, mask, seed, Textures()),
    "copy-paste": copied,
}
BLOB = boxes((10, 30, 30, 20), (20, 40, 9, 45), (60, 2, 3, 3))
MASKS = {
    "blob": BLOB,
    "one pixel": boxes((40, 50, 1, 1)),
    "one pixel in a corner": boxes((71, 100, 1, 1)),
    "a line": boxes((30, 0, 1, 101)),
    "a frame along all borders": boxes((0, 0, *SIZE)) & ~boxes((3, 3, 66, 95)),
    "all but one pixel": boxes((0, 0, *SIZE)) & ~boxes((5, 5, 1, 1)),
    "the whole picture": boxes((0, 0, *SIZE)),
    "smaller than the source's defect": boxes((50, 60, 5, 7)),
    "larger than the source's defect": boxes((5, 5, 55, 80)),
}
each_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


@each_method
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_outside_the_mask_every_pixel_is_the_normal_images(make, mask):
    normal, given = picture(), mask.clone()
    before = normal.pixels.copy()
    made = [make(normal, mask, seed) for seed in range(4)]
    for result in made:
        np.testing.assert_array_equal(result.pixels[~mask.numpy()], before[~mask.numpy()])
    assert max((result.pixels != before)[mask.numpy()].mean() for result in made) > 0.6
    np.testing.assert_array_equal(normal.pixels, before)
    assert torch.equal(mask, given)


@each_method
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype, channels", KINDS)
def test_depth_channels_and_alpha_stay(make, dtype, channels, alpha):
    normal = picture(dtype, channels, alpha=alpha)
    result = make(normal, BLOB, 3)
    assert result.pixels.dtype == dtype and result.pixels.shape == normal.pixels.shape
    np.testing.assert_array_equal(result.pixels[~BLOB.numpy()], normal.pixels[~BLOB.numpy()])
    np.testing.assert_array_equal(result.alpha, normal.alpha)
    inside = result.pixels[BLOB.numpy()]
    assert (inside != normal.pixels[BLOB.numpy()]).mean() > 0.6
    assert dtype == np.uint8 or (inside % 257 != 0).any()  # not 8-bit values made wide


@each_method
@pytest.mark.parametrize("size", [(40, 200), (200, 40), (17, 5), (3, 3), (1, 9)])
def test_any_shape_of_picture(make, size):
    normal, mask = picture(size=size), torch.zeros(size, dtype=torch.bool)
    mask[0, 1:] = mask[size[0] // 2, 1:3] = True
    result = make(normal, mask, 1)
    np.testing.assert_array_equal(result.pixels[~mask.numpy()], normal.pixels[~mask.numpy()])


@each_method
def test_the_seed_decides(make):
    normal = picture()
    first, again, other = (make(normal, BLOB, seed).pixels for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other)[BLOB.numpy()].mean() > 0.6
    make(normal, BLOB, 2**63 - 1)  # the largest that `derived_seed` gives


def test_colour_is_averaged_for_grey_and_grey_repeated_for_colour():
    colour, grey = np.random.default_rng(0).random((4, 5, 3)), np.random.default_rng(1).random((4, 5, 1))
    np.testing.assert_allclose(like(colour, 1)[..., 0], colour.mean(2))
    np.testing.assert_array_equal(like(grey, 3), np.concatenate([grey] * 3, axis=2))
    assert like(colour, 3) is colour and like(grey, 1) is grey


def test_jitter_is_relative():
    """12-bit data in a 16-bit file stay near 0."""
    values = np.random.default_rng(0).random((20, 20, 1)) / 16
    for seed in range(50):
        changed = jittered(values, np.random.default_rng(seed))
        assert 0.8 * values.mean() < changed.mean() < 1.22 * values.mean()
        assert changed.std() > 0.7 * values.std()


# CutPaste


def test_a_patch_holds_surface_of_the_same_picture():
    pixels = np.full((*SIZE, 3), 100, np.uint8)
    pixels[:, 50:] = 200
    values = cutpaste(Picture(pixels), boxes((10, 20, 10, 12)), 0).pixels[10:20, 20:32, 0].astype(float)
    assert all(min(abs(v / 100 - 1), abs(v / 200 - 1)) < 0.35 for v in np.unique(values)) and len(np.unique(values)) < 3


def test_a_scar_is_a_thin_strip_along_the_longer_side():
    """Stretched over a box much wider than it, it varies less across than along."""
    tall, wide = boxes((1, 10, 70, 60)), boxes((10, 1, 55, 99))
    for seed in range(5):
        values = cutpaste(picture(), tall, seed, "scar").pixels[1:71, 10:70].astype(float)
        assert np.abs(np.diff(values, axis=1)).mean() < 0.6 * np.abs(np.diff(values, axis=0)).mean()
        values = cutpaste(picture(), wide, seed, "scar").pixels[10:65, 1:100].astype(float)
        assert np.abs(np.diff(values, axis=0)).mean() < 0.6 * np.abs(np.diff(values, axis=1)).mean()


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="^CutPaste: variant is 'swap'; choose one of patch, scar."):
        cutpaste(picture(), BLOB, 0, "swap")
    assert VARIANTS == ("patch", "scar")


# DRAEM


def test_the_texture_covers_a_tenth_to_all_of_the_normal_surface(tmp_path, monkeypatch):
    monkeypatch.setattr(draem_module, "augmented", lambda values, generator: values)
    write_picture(tmp_path / "black.png", Picture(np.zeros((9, 9, 3), np.uint8)))
    white, mask, textures = Picture(np.full((8, 8, 1), 255, np.uint8)), torch.ones(8, 8, dtype=bool), Textures(tmp_path)
    left = np.array([draem(white, mask, seed, textures).pixels for seed in range(300)]) / 255
    assert (left == left[:, :1, :1]).all()  # one beta per picture
    assert left.max() <= 0.9 + 0.5 / 255
    assert left.min() < 0.03 and left.max() > 0.87 and abs(left.mean() - 0.45) < 0.05


@pytest.mark.parametrize("size", [(5, 7), (64, 64), (300, 40)])
@pytest.mark.parametrize("kind", [picture(), picture(np.uint16, 1), picture(channels=1, alpha=True, size=(2, 300))])
def test_textures_of_any_size_and_depth_fit(tmp_path, kind, size):
    if kind.alpha is not None or kind.pixels.dtype == np.uint8:
        write_picture(tmp_path / "a.PNG", kind)
    else:
        (tmp_path / "deep").mkdir()
        write_picture(tmp_path / "deep" / "a.png", kind)
    values = Textures(tmp_path).draw(size, np.random.default_rng(0))
    assert values.shape == (*size, kind.pixels.shape[2])
    assert 0 <= values.min() < values.max() <= 1


def test_a_texture_shows_the_whole_picture_not_its_corner(tmp_path):
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[100:, 150:] = 255
    write_picture(tmp_path / "a.png", Picture(pixels))
    values = Textures(tmp_path).draw((20, 30), np.random.default_rng(0))
    assert values[:9].max() < 0.01 and values[11:, 16:].min() > 0.99


def test_every_file_of_the_folder_is_drawn_and_nothing_else(tmp_path):
    for level in (0, 100, 200):
        write_picture(tmp_path / f"{level}.png", Picture(np.full((4, 4, 1), level, np.uint8)))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    textures, generator = Textures(tmp_path), np.random.default_rng(0)
    drawn = {round(float(textures.draw((4, 4), generator).mean()) * 255) for _ in range(40)}
    assert drawn == {0, 100, 200}


def test_procedural_textures_stand_in_for_a_folder():
    generator = np.random.default_rng(0)
    drawn = [Textures().draw((20, 90), generator) for _ in range(6)]
    assert all(values.shape == (20, 90, 3) and 0 <= values.min() < values.max() <= 1 for values in drawn)
    assert len({values.tobytes() for values in drawn}) == 6


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^DRAEM: no pictures in the folder .*; give a folder of textures"):
        Textures(tmp_path)
    for nothing in (tmp_path / "missing", str(tmp_path / "missing")):
        with pytest.raises(ValueError, match=r"^DRAEM: no such folder: .*missing; give a folder of textures"):
            Textures(nothing)


def test_perlin_masks_are_never_empty_and_of_several_sizes():
    masks = [perlin_mask((96, 128), seed) for seed in range(120)]
    assert all(mask.dtype == torch.bool and mask.shape == (96, 128) and mask.any() for mask in masks)
    shares = np.array([mask.double().mean() for mask in masks])
    assert 0.03 < np.median(shares) < 0.08 and shares.max() < 0.5
    assert min(mask.sum() for mask in masks) > 1  # drawn again: broad noise stays below the threshold in 1 of 40
    edges = np.array([(mask[:, 1:] != mask[:, :-1]).double().sum() / mask.sum() for mask in masks])
    assert np.percentile(edges, 90) > 5 * np.percentile(edges, 10)  # few broad pieces, or many fine ones
    assert torch.equal(perlin_mask((96, 128), 7), masks[7]) and not torch.equal(masks[7], masks[8])


def test_a_perlin_mask_is_not_empty_where_nothing_reaches_the_threshold():
    assert perlin_mask((40, 50), 0, threshold=2.0).sum() == 1
    assert perlin_mask((1, 1), 0).all()
    assert all(perlin_mask(size, seed).any() for size in ((1, 30), (30, 1), (2, 2)) for seed in range(30))


def test_the_threshold_orders_the_masks():
    low, high = perlin_mask((64, 64), 3, 0.3), perlin_mask((64, 64), 3, 0.5)
    assert (low | high).equal(low) and low.sum() > high.sum()


# DRAEM's textures


def textured(channels=3, size=(40, 56)):
    """Broad and fine structure, 0.1 .. 0.9, in every channel another."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [np.sin(0.3 * x + c) * np.cos(0.2 * y - c) + 0.3 * np.sin(1.7 * x * (c + 1)) for c in range(channels)]
    return 0.5 + 0.4 * np.stack(waves, axis=2) / 1.3


TEXTURES = {
    "colour": textured(),
    "grey": textured(1),
    "grey in colour": textured(1).repeat(3, 2),
    "low contrast": 0.4 + textured() / 100,
    "noise": np.random.default_rng(0).random((30, 30, 3)),
    "one pixel": textured(size=(1, 1)),
    "one line": textured(1, (1, 50)),
    **{f"all {level}": np.full((12, 9, 3), level) for level in (0.0, 0.37, 1.0)},
    **{f"all {level}, grey": np.full((12, 9, 1), level) for level in (0.0, 0.5, 1.0)},
}
OPERATIONS = texture_augment.OPERATIONS
FIXED = (texture_augment.invert, texture_augment.equalize)  # nothing of them is drawn


def parametrized(operations):
    return pytest.mark.parametrize("operation", operations, ids=lambda operation: operation.__name__)


@pytest.mark.parametrize("values", TEXTURES.values(), ids=TEXTURES)
@parametrized([*OPERATIONS, texture_augment.augmented])
def test_an_operation_keeps_shape_and_range_and_the_generator_decides(operation, values):
    before = values.copy()
    for seed in range(20):
        made, again = (operation(values, np.random.default_rng(seed)) for _ in range(2))
        assert made.shape == values.shape and made.dtype == np.float64
        assert np.isfinite(made).all() and made.min() >= 0 and made.max() <= 1
        np.testing.assert_array_equal(made, again)
    np.testing.assert_array_equal(values, before)


@parametrized(OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_operation_changes_a_textured_picture(operation, channels):
    values = textured(channels)
    changes = [np.abs(operation(values, np.random.default_rng(seed)) - values).mean() for seed in range(20)]
    if operation is texture_augment.hue_and_saturation and channels == 1:
        assert not any(changes)  # grey has no hue
        return
    assert max(changes) > 0.01 and (len(set(changes)) > 5 or operation in FIXED)


def test_hue_and_saturation_keep_the_brightest_channels_value():
    values = np.round(textured() * 255) / 255
    changes = []
    for seed in range(10):
        made = texture_augment.hue_and_saturation(values, np.random.default_rng(seed))
        np.testing.assert_allclose(made.max(2), values.max(2), atol=1e-9)
        changes.append(np.abs(made - values).mean())
    assert max(changes) > 0.05


def test_brightness_keeps_what_makes_the_colour():
    values = 0.5 + (textured() - 0.5) / 4  # nothing is cut off
    made = texture_augment.brightness(values, np.random.default_rng(0))
    np.testing.assert_allclose(np.diff(made, axis=2), np.diff(values, axis=2), atol=1e-9)
    assert np.ptp(made - values) > 1e-3


def test_posterize_leaves_as_many_levels_as_its_bits_have():
    values = textured(1, (200, 200))
    made = [texture_augment.posterize(values, np.random.default_rng(seed)) for seed in range(40)]
    counts = [len(np.unique(one)) for one in made]
    assert min(counts) == 2 and 128 < max(counts) <= 256


def test_what_is_turned_out_of_the_picture_is_black():
    values = np.ones((40, 40, 3))
    made = texture_augment.rotate(values, np.random.default_rng(0))
    assert made[20, 20].min() == 1 and made[0, 0].max() == 0


def test_three_different_operations_follow_each_other(monkeypatch):
    drawn = []

    def told(name):
        return lambda values, generator: drawn.append(name) or values

    monkeypatch.setattr(texture_augment, "OPERATIONS", tuple(told(name) for name in range(10)))
    for seed in range(200):
        texture_augment.augmented(textured(), np.random.default_rng(seed))
    runs = [tuple(drawn[i : i + 3]) for i in range(0, 600, 3)]
    assert all(len(set(run)) == 3 for run in runs) and len(set(runs)) > 100
    assert set(drawn) == set(range(10)) and (1, 0) in {run[:2] for run in runs} | {run[1:] for run in runs}


def test_a_grey_picture_gets_a_texture_that_was_augmented_in_colour(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(draem_module, "augmented", lambda values, generator: seen.append(values.shape) or values)
    result = draem(picture(channels=1), BLOB, 0, Textures())
    assert seen == [(*SIZE, 3)] and result.pixels.shape == (*SIZE, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [0, 255])
def test_textures_of_one_colour_change_nothing_outside(tmp_path, level, channels):
    write_picture(tmp_path / "flat.png", Picture(np.full((5, 4, 3), level, np.uint8)))
    normal, textures = picture(channels=channels), Textures(tmp_path)
    for seed in range(60):
        pixels = draem(normal, BLOB, seed, textures).pixels
        np.testing.assert_array_equal(pixels[~BLOB.numpy()], normal.pixels[~BLOB.numpy()])
        assert (pixels != normal.pixels)[BLOB.numpy()].mean() > 0.6


# Poisson blending


def arrays(size=(9, 13), channels=2):
    generator = np.random.default_rng(0)
    return generator.random((*size, channels)), generator.random((*size, channels))


SMALL = {
    "inside": boxes((2, 3, 4, 5), size=(9, 13)).numpy(),
    "on a border": boxes((0, 3, 4, 5), size=(9, 13)).numpy(),
    "in a corner": boxes((5, 8, 4, 5), size=(9, 13)).numpy(),
    "apart": boxes((0, 0, 2, 2), (4, 4, 3, 3), (8, 12, 1, 1), size=(9, 13)).numpy(),
    "touching at a corner": boxes((1, 1, 3, 3), (4, 4, 3, 3), size=(9, 13)).numpy(),
    "with a hole": boxes((1, 1, 6, 7), size=(9, 13)).numpy() & ~boxes((3, 3, 2, 2), size=(9, 13)).numpy(),
    "all but a corner": ~boxes((0, 0, 1, 1), size=(9, 13)).numpy(),
    "all": np.ones((9, 13), bool),
}
each_small = pytest.mark.parametrize("mask", SMALL.values(), ids=SMALL)


def neighbours(y, x, size):
    near = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
    return [(r, c) for r, c in near if 0 <= r < size[0] and 0 <= c < size[1]]


@each_small
def test_the_backgrounds_own_gradients_give_the_background(mask):
    background, _ = arrays()
    np.testing.assert_allclose(poisson(background, background, mask), background, atol=1e-9)


@each_small
def test_an_offset_of_the_guide_changes_nothing(mask):
    background, guide = arrays()
    before = guide.copy(), background.copy()
    result = poisson(background, guide, mask)
    np.testing.assert_allclose(poisson(background, guide + [0.3, -4], mask), result, atol=1e-9)
    np.testing.assert_array_equal(result[~mask], background[~mask])
    np.testing.assert_array_equal((guide, background), before)


@each_small
def test_the_solution_is_that_of_a_dense_solve(mask):
    """Least squares over all pairs of neighbours with a side in the mask."""
    background, guide = arrays()
    mask = mask.copy()
    mask[0, 0] = False  # something around it has to hold the solution
    pixels = [tuple(p) for p in np.argwhere(mask)]
    rows, right = [], []
    for p in pixels:
        for q in neighbours(*p, mask.shape):
            row = np.zeros(len(pixels))
            row[pixels.index(p)] = 1
            step = guide[p] - guide[q]
            if mask[q]:
                row[pixels.index(q)] = -1
            rows.append(row)
            right.append(step if mask[q] else step + background[q])
    weight = np.sqrt([0.5 if (row == -1).any() else 1 for row in rows])[:, None]  # pairs inside stand there twice
    dense = np.linalg.lstsq(np.array(rows) * weight, np.array(right) * weight, rcond=None)[0]
    np.testing.assert_allclose(poisson(background, guide, mask)[mask], dense, atol=1e-9)


@each_small
def test_a_constant_guide_gives_a_harmonic_inside(mask):
    background, _ = arrays()
    result = poisson(background, np.full_like(background, 0.7), mask)
    for y, x in np.argwhere(mask):
        around = np.mean([result[q] for q in neighbours(y, x, mask.shape)], axis=0)
        np.testing.assert_allclose(result[y, x], around, atol=1e-9)


def test_pieces_of_a_mask_do_not_know_of_each_other():
    background, guide = arrays()
    both, one = SMALL["apart"], boxes((4, 4, 3, 3), size=(9, 13)).numpy()
    np.testing.assert_allclose(poisson(background, guide, both)[one], poisson(background, guide, one)[one], atol=1e-12)


# Copy-paste: where the defect lands


def dotted(size, box, dot=(0.25, 0.7), radius=0.12):
    """A grey surface with a dark dot at a relative place of the box; the mask is the box without its lower left."""
    top, left, height, width = box
    y, x = np.mgrid[: size[0], : size[1]]
    u, v = (y + 0.5 - top) / height, (x + 0.5 - left) / width
    inside = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    pixels = np.where(np.hypot(u - dot[0], v - dot[1]) < radius, 50, 150).astype(np.uint8)[..., None]
    return Picture(pixels), torch.from_numpy(inside & ~((u > 0.5) & (v < 0.5)))


@pytest.mark.parametrize("box", [(30, 40, 24, 32), (5, 60, 72, 96), (80, 80, 8, 11), (10, 10, 50, 20), (0, 0, 24, 200)])
def test_the_defect_lies_where_it_lay_in_its_own_box(box):
    source, source_mask = dotted((100, 90), (50, 20, 24, 32))
    expected, mask = dotted((120, 200), box)
    normal = Picture(np.full((120, 200, 1), 150, np.uint8))
    result = copy_paste(normal, mask, source, source_mask).pixels[..., 0]
    dark, wanted = ((150 - p.astype(float)) * mask.numpy() for p in (result, expected.pixels[..., 0]))
    centres = [[(d.sum(k) * np.arange(d.shape[1 - k])).sum() / d.sum() for k in (1, 0)] for d in (dark, wanted)]
    assert np.abs(np.subtract(*centres) / box[2:]).max() < 0.04 or np.abs(np.subtract(*centres)).max() < 0.5
    assert 0.7 < dark.sum() / wanted.sum() < 1.3


@pytest.mark.parametrize("dtype, channels", KINDS)
def test_a_defect_put_back_in_its_own_place_is_the_picture_again(dtype, channels):
    source = picture(dtype, channels)
    for name in ("blob", "one pixel", "a frame along all borders", "the whole picture"):
        result = copy_paste(source, MASKS[name], source, MASKS[name])
        np.testing.assert_array_equal(result.pixels, source.pixels)


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 1)])
def test_a_mirrored_mask_gets_a_mirrored_defect(axes):
    source, source_mask = dotted((100, 90), (50, 20, 24, 32))
    mask = source_mask.flip(axes)
    result = copy_paste(Picture(np.full((100, 90, 1), 150, np.uint8)), mask, source, source_mask)
    np.testing.assert_array_equal(result.pixels, np.flip(source.pixels, axes))


def test_a_placed_mask_gets_its_own_defect_back():
    """Cracks: dark in the source's mask, so that light pixels are surface under a defect's label."""
    shares = []
    for seed in range(12):
        pixels, truth = defect(surface("cast_grain", 128, seed), "cast_grain", "crack", seed)
        flat, truth = np.where(truth[..., None], 30, np.full_like(pixels, 160)), torch.from_numpy(truth)
        mask = place_mask(truth, (128, 160), torch.Generator().manual_seed(seed))
        normal = Picture(np.full((128, 160, 3), 160, np.uint8))
        shares.append((copy_paste(normal, mask, Picture(flat), truth).pixels[mask.numpy()] < 110).mean())
    assert np.mean(shares) > 0.82 and min(shares) > 0.6  # without turning back 0.71 and 0.26


def test_brightness_follows_the_place_and_relief_the_source():
    source, source_mask = dotted((100, 90), (50, 20, 24, 32))
    light = Picture(np.full((100, 90, 3), 220, np.uint8))
    result = copy_paste(light, source_mask, source, source_mask)
    np.testing.assert_array_equal(result.pixels, np.repeat(source.pixels + np.uint8(70), 3, axis=2))
    dark = copy_paste(Picture(np.full((100, 90, 3), 20, np.uint8)), source_mask, source, source_mask)
    assert dark.pixels.min() == 0 and dark.pixels.max() == 20  # cut, not wrapped


def test_a_fine_source_is_averaged_not_skipped():
    stripes = np.zeros((300, 300, 1), np.uint8)
    stripes[:, ::2] = 200
    small = boxes((10, 10, 6, 6), size=(30, 30))
    everything = torch.ones(300, 300, dtype=torch.bool)
    result = copy_paste(Picture(np.full((30, 30, 1), 100, np.uint8)), small, Picture(stripes), everything)
    assert np.ptp(result.pixels) < 20


@pytest.mark.parametrize("source_mask", [torch.zeros(SIZE, dtype=torch.bool), torch.ones(8, 8, dtype=torch.bool)])
def test_a_source_without_its_mask_is_refused(source_mask):
    with pytest.raises(ValueError, match="^Copy-paste: the source is 72 x 101 .*, its mask .* pixels set"):
        copy_paste(picture(), BLOB, picture(), source_mask)


@each_method
def test_an_empty_mask_is_refused(make):
    if make is METHODS["draem"]:
        np.testing.assert_array_equal(make(picture(), ~MASKS["the whole picture"], 0).pixels, picture().pixels)
        return
    with pytest.raises(ValueError, match="^Mask: it is empty"):
        make(picture(), ~MASKS["the whole picture"], 0)


def test_the_box_of_a_mask_is_all_that_is_solved():
    """A small mask on a large picture: the rest is not touched, nor read."""
    normal, mask = picture(size=(500, 700)), boxes((490, 690, 10, 10), size=(500, 700))
    other = normal.with_pixels(normal.pixels.copy())
    other.pixels[:480] = 0
    source, source_mask = picture(seed=1), boxes((5, 5, 20, 20))
    first, second = (copy_paste(p, mask, source, source_mask).pixels[mask.numpy()] for p in (normal, other))
    np.testing.assert_array_equal(first, second)
    assert mask_box(mask) == (490, 690, 10, 10)
