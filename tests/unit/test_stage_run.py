"""The command line's STAGE: an adapter from a dataset, its own tokens or another adapter's."""

import pytest
import torch
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.split import save_split
from anomaly_synthesis.modules.adapter_file import load_adapter
from anomaly_synthesis.modules.base_file import base_fit, file_digest, load_base, save_base
from anomaly_synthesis.modules.stage import load_stage
from anomaly_synthesis.training import defects
from anomaly_synthesis.training.adapter import train_adapter_file
from anomaly_synthesis.training.fast import FastTraining
from anomaly_synthesis.training.stage import StageTraining

from .refusals import refused

QUICK = StageTraining(steps=3, batch=2, tokens=2, evaluate_every=2, widths=(16, 16), cache=4)


@pytest.fixture
def files(tmp_path, surfaces, split, tiny_base, monkeypatch):
    """Paths of data, split, base and adapter-to-be; a few crops are enough."""
    monkeypatch.setattr(defects, "FITTING", 8)
    monkeypatch.setattr(defects, "HELD_OUT", 4)
    save_split(split, tmp_path / "split.json")
    save_base(tmp_path / "base.safetensors", tiny_base, {"split": split.digest})
    return surfaces, tmp_path / "split.json", tmp_path / "base.safetensors", tmp_path / "adapter.safetensors"


def fit_of(path):
    return base_fit(load_base(path)[0], file_digest(path))


@pytest.mark.slow
def test_an_adapter_is_trained_and_written_once(files, split):
    _, _, base, out = files
    notes = train_adapter_file(*files, QUICK)
    assert notes["split"] == split.digest and not out.with_name("adapter.safetensors.state").exists()
    modules = load_stage(out, fit_of(base), split.digest)
    assert modules.tokens.rows.shape[1] == 2 and modules.aware.widths == (16, 16)
    with refused(subject="adapter.safetensors$", got="exists", remedy="choose another output"):
        train_adapter_file(*files, QUICK)
    assert train_adapter_file(*files, QUICK, resume=True)["seconds"] == notes["seconds"]
    with refused(subject="adapter.safetensors$", got="with other settings than asked for", remedy="another output"):
        train_adapter_file(*files, StageTraining(steps=9), resume=True)
    with refused(subject="adapter.pt$", accepted=".safetensors file"):
        train_adapter_file(*files[:3], out.with_suffix(".pt"), QUICK)


@pytest.mark.slow
def test_a_killed_training_resumes(files, tmp_path):
    data, split_file, base, out = files
    train_adapter_file(*files, QUICK)
    steps = []

    def stop():
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt

    other = tmp_path / "other.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_adapter_file(data, split_file, base, other, QUICK, check_interrupt=stop)
    train_adapter_file(data, split_file, base, other, QUICK, resume=True)
    one, two = (load_stage(path, fit_of(base)).state_dict().values() for path in (out, other))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.slow
def test_heads_are_trained_beside_the_tokens_of_a_fast_adapter(files, tmp_path):
    data, split_file, base, out = files
    fast = tmp_path / "fast.safetensors"
    train_adapter_file(data, split_file, base, fast, FastTraining(steps=2, batch=2, tokens=3, evaluate_every=2))
    notes = train_adapter_file(*files, QUICK, tokens_file=fast)
    assert notes["tokens"] == file_digest(fast)
    assert torch.equal(load_stage(out, fit_of(base)).tokens.rows, load_adapter(fast).tensors["tokens.rows"])
    with refused(got="with other tokens than asked for"):
        train_adapter_file(*files, QUICK, resume=True)


@pytest.mark.slow
def test_the_command_trains_either_method(files, tmp_path, capsys):
    data, split_file, base, out = map(str, files)
    command = [
        "train",
        "--data",
        data,
        "--split",
        split_file,
        "--base",
        base,
        "--steps",
        "2",
        "--batch",
        "1",
        "--tokens",
        "2",
        "--types",
        "pit",
    ]
    fast = str(tmp_path / "fast.safetensors")
    assert cli.main([*command, "--out", fast, "--tokens-of", out]) == 1
    assert "use --method stage" in capsys.readouterr().err
    assert cli.main([*command, "--out", fast]) == 0
    assert load_adapter(fast).training["settings"]["learning_rate"] == 1.5e-4
    stage = [
        *command,
        "--out",
        out,
        "--method",
        "stage",
        "--tokens-of",
        fast,
        "--widths",
        "32",
        "16",
        "--checkpointing",
        "on",
    ]
    assert cli.main(stage) == 0
    adapter = load_adapter(out)
    assert adapter.method == "stage" and adapter.shapes["widths"] == [32, 16]
    assert adapter.training["settings"]["learning_rate"] == 1e-3
    assert adapter.training["memory"]["checkpointing"] and adapter.training["memory"]["bytes"] > 0
    assert "images," in capsys.readouterr().out
