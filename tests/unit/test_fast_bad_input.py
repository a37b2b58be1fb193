"""The errors of `train --method fast` for bad input, and that it leaves nothing behind."""

import shutil

import pytest
import torch
from anomaly_synthesis.cli import main
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.split import make_split, save_split
from anomaly_synthesis.modules.adapter_file import load_adapter
from anomaly_synthesis.modules.base_file import load_base, save_base
from anomaly_synthesis.training import adapter, defects
from PIL import Image

from .refusals import refused


@pytest.fixture
def run(tmp_path, surfaces, tiny_base, monkeypatch, capsys):
    """run(change) -> (exit code, last line of the errors): a training on a changed copy of the surfaces."""
    monkeypatch.setattr(defects, "FITTING", 8)
    monkeypatch.setattr(defects, "HELD_OUT", 4)
    data, out = tmp_path / "data", tmp_path / "new" / "adapter.safetensors"
    shutil.copytree(surfaces, data)

    def run(change=lambda data: None, *options, out=out):
        change(data)
        samples = read_mvtec(data)
        split = make_split(samples, {sample.name: sample.name for sample in samples})
        save_split(split, tmp_path / "split.json")
        save_base(tmp_path / "base.safetensors", tiny_base, {"split": split.digest})
        code = main(
            [
                "train",
                "--data",
                str(data),
                "--split",
                str(tmp_path / "split.json"),
                "--base",
                str(tmp_path / "base.safetensors"),
                "--out",
                str(out),
                "--steps",
                "2",
                "--batch",
                "2",
                *options,
            ]
        )
        return code, capsys.readouterr().err.strip()

    run.out = out
    return run


def _only(count):
    """Keeps `count` defect images in all."""

    def change(data):
        kept = sorted(data.glob("*/test/*/*.png"))
        kept = [path for path in kept if path.parent.name != "good"]
        for path in kept[count:]:
            path.unlink()
            (path.parents[2] / "ground_truth" / path.parent.name / f"{path.stem}_mask.png").unlink()

    return change


def test_no_pair_at_all(run):
    code, error = run(_only(0))
    assert code == 1 and "images show no defect; choose another split" in error
    assert not run.out.parent.exists()


def test_one_pair_trains_without_a_curve(run):
    code, _ = run(_only(1))
    notes = load_adapter(run.out).training
    assert code == 0 and notes["curve"] == [] and (notes["training_images"], notes["held_out_images"]) == (1, 0)
    assert [step for step, _ in notes["losses"]] == [2]


def test_all_masks_empty(run):
    def emptied(data):
        for path in data.glob("*/ground_truth/*/*.png"):
            Image.new("L", Image.open(path).size).save(path)

    code, error = run(emptied)
    assert code == 1 and "the mask is empty" in error and "draw the defect, or move the image" in error
    assert not run.out.parent.exists()


def test_an_unknown_type(run):
    code, error = run(lambda data: None, "--types", "rust")
    assert code == 1 and "no defect type 'rust'; there is" in error


def test_a_type_that_the_base_does_not_know(run):
    def renamed(data):
        for part in ("test", "ground_truth"):
            (data / "brushed_metal" / part / "pit").rename(data / "brushed_metal" / part / "rust")

    code, error = run(renamed)
    assert code == 1 and "brushed_metal/rust: this base has no tokens for it; it knows" in error


def test_a_folder_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, error = run(lambda data: None, out=tmp_path / "file" / "adapter.safetensors")
    assert code == 1 and str(tmp_path / "file") in error and "Traceback" not in error


def test_too_little_memory(run, monkeypatch):
    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(adapter, "train_adapter", full)
    code, error = run()
    assert code == 1 and "too little memory for a batch of 2 at 64 px" in error and "lower --batch" in error


def test_a_base_that_is_no_base(run, tmp_path):
    run()
    with refused(got="not a compact base"):
        load_base(run.out)
