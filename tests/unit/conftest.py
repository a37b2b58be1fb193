"""A small dataset, split and untrained base that several tests share."""

import numpy as np
import pytest
import torch
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.procedural import write_surfaces
from anomaly_synthesis.datasets.split import make_split, part_of
from anomaly_synthesis.modules.compact_ldm import CompactLDM, CompactLDMConfig
from anomaly_synthesis.training.base import labels_of
from PIL import Image


@pytest.fixture(scope="session")
def surfaces(tmp_path_factory):
    """Folder in MVTec layout: two materials, 96 px."""
    root = tmp_path_factory.mktemp("data") / "surfaces"
    return write_surfaces(root, materials=("brushed_metal", "cast_grain"), normals=3, defects=3, size=96)


@pytest.fixture(scope="session")
def samples(surfaces):
    return read_mvtec(surfaces)


@pytest.fixture(scope="session")
def split(samples):
    return make_split(samples, {sample.name: sample.name for sample in samples})


@pytest.fixture(scope="session")
def train_part(split, samples):
    return part_of(split, samples, "train")


@pytest.fixture(scope="session")
def tiny_base(samples):
    """An untrained compact base for 64 px crops; its last layers have large weights, so that every pixel changes."""
    torch.manual_seed(0)
    config = CompactLDMConfig(
        labels=labels_of(samples), resolution=64, autoencoder_widths=(8, 16), unet_widths=(32, 32), token_channels=32
    )
    base = CompactLDM(config).eval().requires_grad_(False)
    torch.nn.init.normal_(base.unet.outlet[-1].weight, std=0.05)
    base.autoencoder.decoder[-2].weight.mul_(10)
    return base


@pytest.fixture
def put(tmp_path):
    """put(name, values) writes an image below tmp_path: an array, or a noise picture of its own if none is given."""

    def write(name, values=None, size=(12, 16)):
        path = tmp_path / name
        seed = list(path.relative_to(tmp_path).as_posix().encode())
        path.parent.mkdir(parents=True, exist_ok=True)
        if values is None:
            values = np.random.default_rng(seed).integers(60, 140, size)
        Image.fromarray(np.asarray(values, dtype=np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def spot():
    """spot(rows, columns, value) is a mask of 12 x 16 pixels with a rectangle of `value`."""

    def mask(rows=(3, 6), columns=(4, 9), value=255, size=(12, 16)):
        values = np.zeros(size, np.uint8)
        values[slice(*rows), slice(*columns)] = value
        return values

    return mask
