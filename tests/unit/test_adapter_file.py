"""An adapter's file: read back unchanged, accepted only with its base, and not confused with other files."""

import pickle
from dataclasses import replace

import pytest
import torch
from anomaly_synthesis.modules.adapter_file import Adapter, Fit, load_adapter, save_adapter
from anomaly_synthesis.modules.base_file import load_base
from anomaly_synthesis.modules.tensor_file import write_tensors

from .refusals import refused

BASE = Fit("CompactLDM", "abc", 4, 128, "v")


@pytest.fixture
def adapter():
    tensors = {"tokens.rows": torch.randn(2, 8, 128), "farm.outlet.bias": torch.randn(4)}
    return Adapter("fast", BASE, (("tile", "crack"), ("tile", "break")), "d1", {"norm": "group"}, {"steps": 9}, tensors)


@pytest.fixture
def path(adapter, tmp_path):
    save_adapter(tmp_path / "a.safetensors", adapter)
    return tmp_path / "a.safetensors"


def test_it_comes_back_whole_and_equal_adapters_are_equal_files(adapter, path):
    found = load_adapter(path, BASE)
    assert replace(found, tensors={}) == replace(adapter, tensors={})
    assert all(torch.equal(found.tensors[name], value) for name, value in adapter.tensors.items())
    assert list(found.part("farm")) == ["outlet.bias"] and list(found.part("tokens")) == ["rows"]
    first = path.read_bytes()
    save_adapter(path, found)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "SD15"}, "kind CompactLDM, the base has SD15"),
        ({"digest": "xyz"}, "digest abc, the base has xyz"),
        ({"latent_channels": 16}, "latent_channels 4, the base has 16"),
        ({"token_channels": 768, "prediction": "eps"}, "token_channels 128, the base has 768; prediction v"),
    ],
)
def test_another_base_is_refused_with_what_does_not_fit(path, change, words):
    with refused(subject="/a.safetensors$", got=f"trained for another base .*{words}", remedy="load that base"):
        load_adapter(path, replace(BASE, **change))


def test_a_base_whose_file_is_not_known_is_judged_by_its_shape(path):
    assert load_adapter(path, replace(BASE, digest="")).base == BASE


def test_other_files_are_refused(adapter, path, tmp_path):
    with refused(subject="missing.safetensors$", got="no such file"):
        load_adapter(tmp_path / "missing.safetensors")
    other = tmp_path / "other.safetensors"
    other.write_bytes(pickle.dumps({"a": 1}))
    with refused(got="pickles are never opened"):
        load_adapter(other)
    write_tensors(other, {"a": torch.zeros(1)}, {"format": "lora"})
    with refused(got="not an adapter of this pack .*'lora'", remedy="ComfyUI's own loaders"):
        load_adapter(other)
    other.write_bytes(path.read_bytes()[:-8])
    with refused(got="no readable safetensors"):
        load_adapter(other)
    write_tensors(other, {"a": torch.zeros(1)}, {"format": "anomaly_synthesis.adapter", "version": "2"})
    with refused(subject="other.safetensors$", got="it is version 2", remedy="update the pack"):
        load_adapter(other)
    save_adapter(other, replace(adapter, method="slow"))
    with refused(got="not whole .*method: 'slow'; accepted is fast or stage"):
        load_adapter(other)


def test_a_folder_that_cannot_be_written_is_named(adapter, tmp_path):
    with pytest.raises(OSError, match="cannot write") as error:
        save_adapter(tmp_path / "no" / "a.safetensors", adapter)
    assert str(tmp_path / "no") in str(error.value)


@pytest.mark.parametrize(
    ("version", "got", "remedy"),
    [
        ("x", "its version is 'x', which is no number$", "train or fetch it again"),
        (None, "its version is '', which is no number$", "train or fetch it again"),
        ("\u00b2", "its version is '\u00b2', which is no number$", "train or fetch it again"),
        ("9" * 5000, "it is version 9{40}$", "update the pack"),
        ("0", "it is version 0$", "train or fetch it again"),
    ],
)
@pytest.mark.parametrize(("kind", "load"), [("adapter", load_adapter), ("base", load_base)])
def test_a_version_that_is_no_number_or_another_is_refused(kind, load, version, got, remedy, tmp_path):
    metadata = {"format": f"anomaly_synthesis.{kind}"} | ({} if version is None else {"version": version})
    write_tensors(tmp_path / "v.safetensors", {"a": torch.zeros(1)}, metadata)
    with refused(subject=f"^{tmp_path / 'v.safetensors'}$", got=got, remedy=remedy):
        load(tmp_path / "v.safetensors")
