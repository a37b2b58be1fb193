"""Training and testing of segmentation networks: exposures, held-out groups, repeatability, tiles."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomaly_synthesis.datasets.hold_out import hold_out
from anomaly_synthesis.datasets.mvtec import Sample, read_mvtec, read_sample
from anomaly_synthesis.datasets.regions import MaskFiles
from anomaly_synthesis.evaluation.metrics import metrics
from anomaly_synthesis.evaluation.networks.small_unet import SmallUNet
from anomaly_synthesis.evaluation.segmenter import training, validation
from anomaly_synthesis.evaluation.segmenter.crops import Crops
from anomaly_synthesis.evaluation.segmenter.prediction import predict
from anomaly_synthesis.evaluation.segmenter.testing import test as tested_on
from anomaly_synthesis.evaluation.segmenter.training import Training, loss, train_segmenter
from anomaly_synthesis.images.pictures import Picture, write_mask, write_picture
from anomaly_synthesis.training.crops import PictureCache
from anomaly_synthesis.training.loop import train
from PIL import Image

from .refusals import refused

QUICK = Training(crop=32, batch=2, synthetic=2, steps=4, augmentation="light", hold_out=True, evaluate_every=2, seed=3)


def _write(root, defects: int = 6, normals: int = 4, size=(40, 52)):
    """Grey pictures of slightly different sizes with one bright square each, in MVTec layout."""
    generator = np.random.default_rng(len(str(root)))
    for index in range(defects + normals):
        shape = size[0] + index, size[1] - index
        pixels, mask = generator.integers(80, 120, (*shape, 1), dtype=np.uint8), np.zeros(shape, dtype=bool)
        top, left = generator.integers(0, 30, 2)
        folder, name = ("train/good" if index < normals else f"test/{'pit' if index % 2 else 'dent'}"), f"{index}.png"
        if index >= normals:
            mask[top : top + 6, left : left + 5] = True
            pixels[mask] = 230
        for part in (folder, folder.replace("test", "ground_truth")):
            (root / "part" / part).mkdir(parents=True, exist_ok=True)
        write_picture(root / "part" / folder / name, Picture(pixels))
        if index >= normals:
            write_mask(root / "part" / folder.replace("test", "ground_truth") / name.replace(".", "_mask."), mask)
    return read_mvtec(root)


def _split(samples):
    """All of them train, each in its own group."""
    groups = {sample.name: f"group {sample.name}" for sample in samples}
    return SimpleNamespace(train=list(groups), groups=groups, digest="")


@pytest.fixture
def real(tmp_path):
    return _write(tmp_path / "real")


@pytest.fixture
def synthetic(tmp_path):
    return _write(tmp_path / "synthetic", defects=2, normals=1)


class _Constant(torch.nn.Module):
    """A network that answers with one learnable value everywhere, and remembers what it saw."""

    value = 0.0

    def __init__(self):
        super().__init__()
        self.level, self.seen = torch.nn.Parameter(torch.tensor(self.value)), []

    def forward(self, image):
        self.seen.append(image)
        return self.level.expand(len(image), 1, *image.shape[2:])


def _equal(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.slow
def test_a_seed_decides_the_weights_and_leaves_torch_alone(real, synthetic):
    split, state = _split(real), torch.get_rng_state()
    first, record = train_segmenter("small_unet", real, synthetic, split, QUICK)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    again, _ = train_segmenter("small_unet", real, synthetic, split, QUICK)
    other, _ = train_segmenter("small_unet", real, synthetic, split, Training(**{**vars(QUICK), "seed": 4}))
    assert _equal(first, again) and not _equal(first, other)
    assert not first.training
    assert record.steps == 4 and record.best_step in (2, 4) and [step for step, _ in record.curve] == [2, 4]
    assert all(0 <= precision <= 1 for _, precision in record.curve)


def test_real_crops_are_the_same_with_and_without_synthetic_ones(real, synthetic, monkeypatch):
    networks = []
    monkeypatch.setitem(training.NETWORKS, "constant", lambda weights: networks.append(_Constant()) or networks[-1])
    _, alone = train_segmenter("constant", real, [], _split(real), QUICK)
    _, both = train_segmenter("constant", real, synthetic, _split(real), QUICK)
    assert alone.real == both.real == 8 and (alone.synthetic, both.synthetic) == (0, 8)
    for one, two in zip(networks[0].seen, networks[1].seen, strict=True):
        assert len(one) == 2 and len(two) == 4
        assert torch.equal(one, two[:2])


def test_held_out_groups_never_train(real, monkeypatch):
    trained = []

    class Spy(Crops):
        def __init__(self, samples, **rest):
            trained.extend(samples)
            super().__init__(samples, **rest)

    monkeypatch.setattr(training, "Crops", Spy)
    monkeypatch.setitem(training.NETWORKS, "constant", lambda weights: _Constant())
    split = _split(real)
    split.groups = {s.name: f"group {index // 2}" for index, s in enumerate(sorted(real, key=lambda s: s.image.stem))}
    _, record = train_segmenter("constant", real, [], split, QUICK)
    assert record.validation
    assert not {split.groups[s.name] for s in trained} & set(record.validation)


def _samples(kinds):
    """{(type, group): images} -> samples without files, and their groups."""
    found, groups = [], {}
    for (type_name, group), count in kinds.items():
        for index in range(count):
            name = f"{type_name} {group} {index}"
            mask = None if type_name == "good" else "a mask"
            found.append(Sample("part", type_name, "test", name, "root", mask))
            groups[name] = group
    return found, groups


@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_of_the_groups_of_every_type_is_held_out(seed):
    kinds = {("pit", f"p{i}"): 3 for i in range(10)} | {("dent", f"d{i}"): 1 for i in range(5)}
    samples, groups = _samples(kinds | {("good", f"g{i}"): 2 for i in range(15)} | {("good", "p0"): 1})
    fitting, validation = hold_out(samples, groups, seed)
    held = {groups[sample.name] for sample in validation}
    assert not held & {groups[sample.name] for sample in fitting}
    assert [sum(name[0] == letter for name in held) for letter in "pd"] == [2, 1]
    assert 2 <= sum(name[0] == "g" for name in held) <= 3
    assert hold_out(samples, groups, seed) == (fitting, validation)


def test_no_type_loses_its_last_group():
    samples, groups = _samples({("pit", "a"): 2, ("pit", "b"): 2, ("dent", "a"): 1})
    fitting, validation = hold_out(samples, groups, 0)
    assert {groups[sample.name] for sample in validation} == {"b"}  # two groups are enough to spare one
    samples, groups = _samples({("pit", "a"): 2, ("dent", "b"): 2})
    assert hold_out(samples, groups, 0) == (samples, [])


def test_with_nothing_held_out_every_group_trains_and_the_last_weights_stay(real, monkeypatch):
    trained = []
    monkeypatch.setattr(training, "Crops", lambda samples, **rest: trained.extend(samples) or Crops(samples, **rest))
    _, record = train_segmenter("small_unet", real, [], _split(real), replace(QUICK, hold_out=False))
    assert trained == list(real) and (record.best_step, record.curve, record.validation) == (4, (), ())


def test_without_validation_every_step_is_taken(real):
    samples = [s for s in real if s.type == "good"] + [s for s in real if s.type == "pit"][:1]
    network, record = train_segmenter("small_unet", samples, [], _split(real), QUICK)
    assert (record.steps, record.best_step, record.curve) == (4, 4, ())
    assert all(weight.isfinite().all() for weight in network.parameters())


def test_the_best_weights_are_kept(real, monkeypatch):
    monkeypatch.setitem(training.NETWORKS, "constant", lambda weights: _Constant())
    values, levels = iter([0.1, 0.5, 0.4, 0.5]), []

    def look(self, network):
        levels.append(float(network.level))
        return torch.tensor([next(values)], dtype=torch.float64)

    monkeypatch.setattr(validation.Validation, "iou", look)
    settings = Training(crop=32, batch=1, steps=4, hold_out=True, evaluate_every=1, average=0.5)
    network, record = train_segmenter("constant", real, [], _split(real), settings)
    assert record.best_step == 2 and record.curve == ((1, 0.1), (2, 0.5), (3, 0.4), (4, 0.5))
    assert float(network.level) == levels[1] != levels[3]


def test_validation_is_the_mean_over_types_with_the_good_images_in_each(real):
    looked = validation.Validation(real, PictureCache()).iou(_Constant())  # calls everything anomalous
    pixels = {
        kind: sum((40 + int(s.image.stem)) * (52 - int(s.image.stem)) for s in real if s.type == kind)
        for kind in ("good", "pit", "dent")
    }
    defects = {kind: 30 * sum(s.type == kind for s in real) for kind in ("pit", "dent")}
    expected = [defects[kind] / (pixels[kind] + pixels["good"]) for kind in defects]
    assert looked.tolist() == [pytest.approx(sum(expected) / 2)]


@pytest.mark.slow
@pytest.mark.parametrize("network_name", ["small_unet", "segformer", "unet", "stdc1"])
def test_a_killed_training_ends_with_the_same_weights_and_curve(network_name, real, synthetic, tmp_path, monkeypatch):
    """In one process: what the state holds is everything, dropout and batch statistics included."""
    monkeypatch.setattr(training, "train", lambda *args, **more: train(*args, **more, save_every=0))
    pytest.importorskip({"unet": "segmentation_models_pytorch", "segformer": "transformers"}.get(network_name, "torch"))
    settings = Training(crop=32, batch=1, steps=7, hold_out=True, evaluate_every=2, weights="random")
    split = _split(real)
    whole, record = train_segmenter(network_name, real, synthetic, split, settings)
    steps = []

    def stop():
        steps.append(1)
        if len(steps) == 9:  # steps and validation images
            raise KeyboardInterrupt

    state = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        train_segmenter(network_name, real, synthetic, split, settings, state=state, check_interrupt=stop)
    again, second = train_segmenter(network_name, real, synthetic, split, settings, state=state)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
    assert second.curve == record.curve and [step for step, _ in record.curve] == [2, 4, 6, 7]
    with refused(got="another run"):
        train_segmenter(network_name, real, [], split, settings, state=state)


def test_every_third_crop_shows_a_defect_and_padding_has_no_weight(real):
    small = [s for s in real if s.mask is None or s.type == "pit"]
    crops = Crops(small, 64, PictureCache())
    image, mask, weight = crops.draw(0, 8, torch.Generator().manual_seed(0))
    assert image.shape == (8, 3, 64, 64) and mask.shape == weight.shape == (8, 1, 64, 64)
    assert mask[::3].flatten(1).any(1).all()
    assert (image >= 0).all() and (image <= 1).all()
    assert weight.unique().tolist() == [0, 1] and not (mask * (1 - weight)).any()
    areas = {(40 + index) * (52 - index) for index in range(10)}
    assert {int(one.sum()) for one in weight} <= areas
    assert (image[:, 0] == image[:, 1]).all()  # grey on three channels
    bright = image[:, :1] - image[:, :1].flatten(1).median(1).values[:, None, None, None] > 0.2
    assert torch.equal(bright & (weight > 0), mask > 0)  # mirrored as one, and mirrored defects not labelled
    assert (bright & (weight == 0)).any()


def test_loss_ignores_padding_and_survives_empty_masks():
    logits, mask = torch.zeros(2, 1, 8, 8, requires_grad=True), torch.zeros(2, 1, 8, 8)
    weight = torch.ones_like(mask)
    weight[..., 4:] = 0
    loss(logits, mask, weight).backward()
    assert logits.grad.isfinite().all() and not logits.grad[..., 4:].any() and logits.grad[..., :4].all()
    assert loss(logits, mask, 0 * weight).isfinite()
    sure = torch.where(torch.rand(2, 1, 8, 8) > 0.5, 40.0, -40.0)
    assert loss(sure, (sure > 0).float(), torch.ones_like(mask)) < 1e-4


def test_a_loss_of_nan_is_refused(real, monkeypatch):
    monkeypatch.setattr(_Constant, "value", float("nan"))
    monkeypatch.setitem(training.NETWORKS, "constant", lambda weights: _Constant())
    with refused(subject="scores", got="diverged", remedy="try a lower learning rate"):  # at the first validation
        train_segmenter("constant", real, [], _split(real), QUICK)
    alone = [s for s in real if s.type == "good"] + [s for s in real if s.type == "pit"][:1]
    with refused(got="loss is nan at step 0", remedy="try a lower learning rate"):  # without any
        train_segmenter("constant", alone, [], _split(alone), QUICK)


def test_an_interrupt_passes_through(real):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_segmenter("small_unet", real, [], _split(real), QUICK, check_interrupt=stop)


def test_held_back_images_and_unknown_names_are_refused(real):
    split = _split(real)
    with refused(subject="network", accepted="unet, small_unet, segformer, bisenetv2, stdc1"):
        train_segmenter("vgg", real, [], split, QUICK)
    with refused(subject="training part", got="has a defect"):
        train_segmenter("small_unet", [s for s in real if s.mask is None], [], split, QUICK)
    split.train = split.train[1:]
    with refused(got="not in the split's training part"):
        train_segmenter("small_unet", real, [], split, QUICK)
    with refused(subject="^batch$", got="^0$", accepted="1 or more"):
        Training(batch=0)


@pytest.mark.parametrize("size", [(64, 64), (64, 150), (131, 200), (20, 65)])
def test_tiles_agree_with_the_whole(size):
    """Exactly where a score depends on its pixel alone, nearly where on its neighbours: a tile's edge lacks some."""
    torch.manual_seed(0)
    image = torch.rand(3, *size)
    for network, most in [(torch.nn.Conv2d(3, 1, 1), 1e-6), (torch.nn.Conv2d(3, 1, 3, padding=1), 0.02)]:
        whole, tiled = predict(network, image, tile=1000), predict(network, image, tile=64, overlap=16)
        assert whole.shape == size
        assert (whole - tiled).abs().max() < most


def test_tiles_of_a_small_unet_agree_with_the_whole_away_from_seams():
    torch.manual_seed(0)
    network, image = SmallUNet().eval(), torch.rand(3, 256, 400)
    whole, tiled = predict(network, image), predict(network, image, tile=224, overlap=64)
    assert whole.shape == (256, 400) and whole.min() >= 0 and whole.max() <= 1
    assert (whole - tiled).abs().mean() < 0.01
    assert torch.equal(predict(network, image, tile=400, overlap=64), whole)


def test_tests_keep_groups_and_types_apart(real):
    groups = {s.name: f"group {index // 2}" for index, s in enumerate(sorted(real, key=lambda s: s.image.stem))}
    tested = tested_on(_Constant(), real, groups)
    pits = [s for s in real if s.type == "pit"]
    assert set(tested.groups(("part", "pit"))) == {groups[s.name] for s in pits}
    assert tested.total(("part", "pit")).region_count == len(pits)
    assert tested.total(("part", "pit")).anomalous.sum() == 30 * len(pits)
    sizes = [(40 + index) * (52 - index) for index in range(10)]
    assert tested.total().normal.sum() + tested.total().anomalous.sum() == sum(sizes)
    assert set(tested.groups()) == set(groups.values())
    assert tested.total(("part", "good")).anomalous.sum() == 0
    with refused(got="no group"):
        tested_on(_Constant(), real, {})


@pytest.mark.slow
def test_a_training_finds_what_it_was_shown(real):
    settings = Training(crop=40, batch=4, steps=60, hold_out=True, evaluate_every=20, learning_rate=3e-3, average=0.9)
    network, record = train_segmenter("small_unet", real, [], _split(real), settings)
    assert record.curve[-1][1] > 0.6
    total = tested_on(network, real, _split(real).groups).total()
    assert metrics(total)["iou"] > 0.7


def test_an_image_of_two_types_is_one_image_with_both_masks(tmp_path, monkeypatch):
    """Trained or tested on type by type, each defect would count as a false alarm for the other type."""
    for name in ("images/0.png", "images/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_picture(tmp_path / name, Picture(np.full((40, 40, 1), 90, np.uint8)))
    values = np.zeros((40, 40), np.uint8)
    values[:8], values[20:24] = 1, 2
    Image.fromarray(values).save(tmp_path / "labels.png")
    kinds = {"dent": MaskFiles((tmp_path / "labels.png",), 1), "pit": MaskFiles((tmp_path / "labels.png",), 2)}
    samples = [Sample("part", kind, "", "images/0.png", tmp_path, mask) for kind, mask in kinds.items()]
    samples.append(Sample("part", "dent", "", "images/1.png", tmp_path, kinds["dent"]))

    tested = tested_on(_Constant(), samples, {"images/0.png": "a", "images/1.png": "b"})
    assert [(seen.type, seen.anomalous) for seen in tested.images] == [("dent + pit", 480), ("dent", 320)]

    trained = []
    monkeypatch.setattr(training, "Crops", lambda given, **rest: trained.extend(given) or Crops(given, **rest))
    train_segmenter("small_unet", samples, [], _split(samples), replace(QUICK, hold_out=False))
    assert [one.type for one in trained] == ["dent + pit", "dent"]
    assert int(read_sample(trained[0])[1].sum()) == 480
