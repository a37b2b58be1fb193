"""The engine: exact backgrounds, items that do not depend on their batch, plans, resumed runs, bad input."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from anomaly_synthesis.datasets.pairs import PairWriter, read_manifest
from anomaly_synthesis.errors import Refused
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import Picture, read_picture
from anomaly_synthesis.seeds import derived_seed
from anomaly_synthesis.synthesis.negatives import Thresholds
from anomaly_synthesis.synthesis.pair import Job, Settings, make_pairs
from anomaly_synthesis.synthesis.plan import Plan
from anomaly_synthesis.synthesis.policy import Policy
from anomaly_synthesis.synthesis.run import run

from .refusals import refused

SETTINGS = Settings(steps=3)


def _job(size=(96, 96), box=(40, 50, 10, 6), seed=3, channels=3, dtype=np.uint8, type="scratch"):
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    picture = Picture(rng.integers(0, top, (*size, channels), dtype=dtype))
    mask = torch.zeros(size, dtype=torch.bool)
    mask[box[0] : box[0] + box[2], box[1] : box[1] + box[3]] = True
    return Job(picture, mask, "brushed_metal", type, seed)


@pytest.mark.parametrize("size", [(96, 96), (251, 377), (64, 64), (40, 150), (33, 17), (1000, 1000)])
@pytest.mark.parametrize("mode", ["difference", "paste"])
def test_any_size_comes_back_with_its_background_exact(tiny_base, size, mode):
    box = (size[0] // 2, size[1] // 2, 7, 5)
    pair = make_pairs(tiny_base, [_job(size, box)], replace(SETTINGS, mode=mode))[0]
    mask = pair.job.mask.numpy()
    assert pair.picture.size == size
    assert np.array_equal(pair.picture.pixels[~mask], pair.job.picture.pixels[~mask])
    assert not np.array_equal(pair.picture.pixels[mask], pair.job.picture.pixels[mask])


@pytest.mark.parametrize("aware", [True, False])
def test_item_of_a_batch_equals_the_item_alone(tiny_base, aware):
    types = ("scratch", "pit", "stain")
    jobs = [_job(box=(10 + 5 * i, 20, 4 + i, 9), seed=100 + i, type=types[i % 3]) for i in range(8)]
    settings = replace(SETTINGS, aware=aware)
    whole, alone = make_pairs(tiny_base, jobs, settings)[7], make_pairs(tiny_base, jobs[7:], settings)[0]
    difference = whole.picture.pixels.astype(int) - alone.picture.pixels.astype(int)
    assert np.abs(difference).max() <= 1, "more than the last bit of a convolution's batch size"


def test_grey_and_16_bit_keep_depth_and_channels(tiny_base):
    for channels, dtype in ((1, np.uint8), (1, np.uint16), (3, np.uint16)):
        pair = make_pairs(tiny_base, [_job(channels=channels, dtype=dtype)], SETTINGS)[0]
        assert pair.picture.pixels.dtype == dtype and pair.picture.pixels.shape == (96, 96, channels)


@pytest.mark.parametrize("box", [(95, 0, 1, 1), (0, 0, 96, 96)], ids=["one pixel", "all ones"])
def test_one_pixel_and_all_ones_masks_work(tiny_base, box):
    jobs = [_job(box=box, seed=seed) for seed in range(4)]
    pairs = make_pairs(tiny_base, jobs, SETTINGS)
    changed = [(pair.picture.pixels != pair.job.picture.pixels).any(-1) for pair in pairs]
    # An untrained base may leave one pixel as it is, but not four times.
    assert any(change.any() for change in changed)
    for pair, change in zip(pairs, changed, strict=True):
        assert not change[~pair.job.mask.numpy()].any() and np.isfinite([pair.visibility, pair.contrast]).all()


def test_small_defect_on_a_large_image_is_made_at_native_scale(tiny_base):
    pair = make_pairs(tiny_base, [_job((1000, 1000), (500, 700, 10, 10))], SETTINGS)[0]
    assert [(window.factor, window.side) for window in pair.windows] == [(1, 64)]


def test_a_large_defect_is_reduced_by_what_it_needs(tiny_base):
    pair = make_pairs(tiny_base, [_job((1000, 1000), (300, 300, 100, 20))], SETTINGS)[0]
    assert [window.side for window in pair.windows] == [300]
    assert pair.windows[0].factor == pytest.approx(300 / 64)


def test_specks_at_far_ends_are_each_made_at_native_scale(tiny_base):
    near, far = _job((500, 700), (10, 10, 3, 3)), _job((500, 700), (480, 680, 4, 4))
    both = replace(near, mask=near.mask | far.mask)
    pair = make_pairs(tiny_base, [both], SETTINGS)[0]
    assert [(window.side, window.factor) for window in pair.windows] == [(64, 1), (64, 1)]
    changed = torch.from_numpy((pair.picture.pixels != both.picture.pixels).any(-1))
    assert changed[near.mask].any() and changed[far.mask].any() and not changed[~both.mask].any()


def test_empty_masks_other_sizes_and_unknown_types_are_refused(tiny_base):
    empty = _job(box=(0, 0, 0, 0))
    other = replace(_job(), mask=torch.ones(96, 95, dtype=torch.bool))
    unknown = _job(type="dent")
    for job, words in ((empty, "^mask: it is empty"), (other, r"\(96, 95\).*\(96, 96\)"), (unknown, "no tokens for")):
        with pytest.raises(Refused, match=words):
            make_pairs(tiny_base, [_job(), job], SETTINGS)


@pytest.mark.parametrize(
    ("changed", "subject", "got"),
    [
        ({"steps": 0}, "steps", "^0$"),
        ({"steps": 1001}, "steps", "^1001$"),
        ({"preset": "best"}, "preset", "^'best'$"),
        ({"mode": "blend"}, "mode", "^'blend'$"),
        ({"feather": -1}, "feather", "^-1$"),
        ({"guidance": float("nan")}, "guidance", "^nan$"),
        ({"context": -0.5}, "context", "^-0.5$"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_runs(changed, subject, got):
    with refused(f"^{subject}$", got):
        replace(SETTINGS, **changed)


def test_a_base_that_yields_nan_is_an_error_not_a_pair(tiny_base):
    job = _job()
    broken = type(tiny_base)(tiny_base.config)
    broken.load_state_dict(tiny_base.state_dict())
    torch.nn.init.constant_(broken.autoencoder.encoder[-1].weight, float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        make_pairs(broken, [job], SETTINGS)


def test_plan_items_depend_on_seed_and_index_alone(train_part):
    first, second = (Plan(parts, train_part, 5) for parts in (train_part, list(reversed(train_part))))
    for index in (0, 3, 11):
        a, b = first.item(index), second.item(index)
        assert torch.equal(a.job.mask, b.job.mask) and a.normal_name == b.normal_name and a.job.seed == b.job.seed
    again = first.item(3, redraw=1)
    assert torch.equal(again.job.mask, first.item(3).job.mask) and again.job.seed != first.item(3).job.seed
    assert len({derived_seed(s, i, p) for s in range(9) for i in range(9) for p in "ab"}) == 162


def test_plan_without_normals_or_masks_is_refused(train_part):
    for normals, shapes in (([], train_part), (train_part, [s for s in train_part if s.type == "good"])):
        with refused("^data$", "normal images and", "^at least one of each$"):
            Plan(normals, shapes, 0)


def _run(root, base, plan, count, resume=False, **options):
    run(base, "digest", plan, count, SETTINGS, PairWriter(root, {"seed": 0}, resume=resume), negatives=4, **options)
    return root


def _content(root):
    files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.png")}
    return files, [{k: v for k, v in line.items() if k != "seconds"} for line in read_manifest(root)]


@pytest.mark.slow
def test_a_run_stopped_in_a_batch_and_resumed_equals_an_unbroken_one(tiny_base, train_part, tmp_path):
    plan = Plan(train_part, train_part, 0)
    whole = _run(tmp_path / "whole", tiny_base, plan, 11)

    def stop(index, *_):
        if index == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "broken", tiny_base, plan, 11, report=stop)
    assert len(read_manifest(tmp_path / "broken")) == 5
    assert _content(_run(tmp_path / "broken", tiny_base, plan, 11, resume=True)) == _content(whole)


def test_the_folder_of_a_run_holds_what_the_manifest_says(tiny_base, train_part, tmp_path):
    root = _run(tmp_path / "pairs", tiny_base, Plan(train_part, train_part, 0), 6)
    records = read_manifest(root)
    assert [record["index"] for record in records] == list(range(6))
    for record in records:
        wanted = {
            "image",
            "mask",
            "normal",
            "object",
            "type",
            "seed",
            "index",
            "visibility",
            "visible",
            "seconds",
            "base",
            "adapter",
            "settings",
            "contrast",
            "strength",
            "excess",
            "completeness",
            "precision",
            "boundary",
            "seam",
            "nearest_real",
        }
        assert wanted <= set(record)
        normal, result = (read_picture(root / record[key]).pixels for key in ("normal", "image"))
        mask = read_mask(root / record["mask"]).numpy()
        assert mask.any() and np.array_equal(normal[~mask], result[~mask])
    json.dumps(records)


def test_redraw_gives_an_invisible_pair_new_seeds_and_then_keeps_it(tiny_base, train_part, tmp_path, monkeypatch):
    from anomaly_synthesis.synthesis import run as module

    monkeypatch.setattr(module, "measured_thresholds", lambda *_: Thresholds(float("inf"), 1.0))
    plan, seen = Plan(train_part, train_part, 0), []
    _run(
        tmp_path / "pairs", tiny_base, plan, 2, policy=Policy(redraw=2), report=lambda *progress: seen.append(progress)
    )
    for index, _, pair, visible in seen:
        assert not visible and pair.job.seed == plan.item(index, 2).job.seed
