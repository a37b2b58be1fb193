"""An adapter's file comes back whole, fits only its base, and nothing else is taken for one."""

import pickle
from dataclasses import replace

import pytest
import torch
from anomaly_synthesis.modules.adapter_file import Adapter, Fit, load_adapter, save_adapter
from anomaly_synthesis.modules.tensor_file import write_tensors

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
    with pytest.raises(ValueError, match=f"a.safetensors was trained for another base .*{words}"):
        load_adapter(path, replace(BASE, **change))


def test_a_base_whose_file_is_not_known_is_judged_by_its_shape(path):
    assert load_adapter(path, replace(BASE, digest="")).base == BASE


def test_other_files_are_refused(adapter, path, tmp_path):
    with pytest.raises(ValueError, match="no file .*missing.safetensors"):
        load_adapter(tmp_path / "missing.safetensors")
    other = tmp_path / "other.safetensors"
    other.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="pickles are never opened"):
        load_adapter(other)
    write_tensors(other, {"a": torch.zeros(1)}, {"format": "lora"})
    with pytest.raises(ValueError, match="not an adapter of this pack .*'lora'"):
        load_adapter(other)
    other.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="no readable safetensors"):
        load_adapter(other)
    write_tensors(other, {"a": torch.zeros(1)}, {"format": "anomaly_synthesis.adapter", "version": "2"})
    with pytest.raises(ValueError, match="other.safetensors is version 2; update the pack"):
        load_adapter(other)
    save_adapter(other, replace(adapter, method="slow"))
    with pytest.raises(ValueError, match="not whole .*unknown method 'slow'"):
        load_adapter(other)


def test_a_folder_that_cannot_be_written_is_named(adapter, tmp_path):
    with pytest.raises(OSError, match="cannot write") as error:
        save_adapter(tmp_path / "no" / "a.safetensors", adapter)
    assert str(tmp_path / "no") in str(error.value)
