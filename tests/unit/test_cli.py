"""The command line from surfaces to pairs, and its answers to bad input."""

import json
import os
import sys

import numpy as np
import pytest
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.pairs import read_manifest
from anomaly_synthesis.datasets.pictures import read_mask, read_picture
from anomaly_synthesis.datasets.split import save_split
from anomaly_synthesis.modules.base_file import load_base, save_base
from PIL import Image

TRAIN = ["--resolution", "32", "--autoencoder-steps", "2", "--steps", "2", "--batch", "2"]


@pytest.fixture(scope="module")
def files(tmp_path_factory, surfaces, split, tiny_base):
    """Paths of a split and of a base, as strings by name."""
    folder = tmp_path_factory.mktemp("files")
    save_split(split, folder / "split.json")
    save_base(folder / "base.safetensors", tiny_base, {})
    return {"data": str(surfaces), "split": str(folder / "split.json"), "base": str(folder / "base.safetensors")}


def _synthesize(files, out, *more, **changed):
    files = files | changed
    return cli.main(["synthesize", "--base", files["base"], "--data", files["data"], "--split", files["split"],
                     "--out", str(out), "--steps", "3", *(more or ("--count", "2"))])  # fmt: skip


def test_surfaces_split_train_synthesize(tmp_path, capsys):
    data, split, base = tmp_path / "data", tmp_path / "split.json", tmp_path / "base.safetensors"
    assert cli.main(["surfaces", "--out", str(data), "--normals", "2", "--defects", "2", "--size", "64"]) == 0
    assert cli.main(["split", "--data", str(data), "--ungrouped", "--out", str(split)]) == 0
    train = ["train-base", "--data", str(data), "--split", str(split), "--out", str(base), *TRAIN]
    assert cli.main(train) == 0
    assert "contrast kept" in capsys.readouterr().out
    model, record = load_base(base)
    assert model.config.resolution == 32 and record["split"] == json.loads(split.read_text())["digest"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.safetensors", "data", "split.json"]
    assert cli.main(train) == 1 and "exists" in capsys.readouterr().err
    assert cli.main([*train, "--resume"]) == 0
    files = {"data": str(data), "split": str(split), "base": str(base)}
    assert _synthesize(files, tmp_path / "pairs", "--count", "3") == 0
    assert len(read_manifest(tmp_path / "pairs")) == 3 and (tmp_path / "pairs" / "sheet.png").exists()


def test_an_existing_folder_is_refused_or_continued(files, tmp_path, capsys):
    out = tmp_path / "pairs"
    assert _synthesize(files, out) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png") if path.name != "sheet.png"}
    assert _synthesize(files, out) == 1
    assert "--resume" in capsys.readouterr().err
    assert _synthesize(files, out, "--count", "4", "--resume") == 0
    assert len(read_manifest(out)) == 4
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert _synthesize(files, out, "--count", "4", "--resume", "--guidance", "3") == 1
    assert "guidance" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--count", "0"), "--count is 0"),
        (("--count", "1", "--preset", "best"), "unknown name 'best'"),
        (("--count", "1", "--types", "dent"), "dent"),
        (("--count", "1", "--compose", "blend"), "mode is 'blend'"),
    ],
)
def test_bad_options_exit_1_with_words(files, tmp_path, capsys, more, words):
    assert _synthesize(files, tmp_path / "pairs", *more) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error
    assert not list((tmp_path / "pairs").rglob("*.png"))


def test_missing_and_foreign_files_exit_1_with_words(files, tmp_path, capsys):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "readme.txt").write_text("hello")
    (tmp_path / "pickle.safetensors").write_bytes(b"\x80\x04K\x01.")
    for changed, words in (
        ({"data": str(notes)}, "train/good"),
        ({"data": str(tmp_path / "nowhere")}, "nowhere"),
        ({"base": str(tmp_path / "nothing.safetensors")}, "nothing.safetensors"),
        ({"base": str(tmp_path / "pickle.safetensors")}, "never opened"),
        ({"split": files["base"]}, "split"),
    ):
        assert _synthesize(files, tmp_path / "pairs", **changed) == 1
        assert words in capsys.readouterr().err


def test_usage_errors_exit_2():
    for arguments in ([], ["synthesize"], ["nonsense"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 2


@pytest.mark.parametrize("command", ["demo", "surfaces", "split", "train-base", "synthesize"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0 and "--out" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "geteuid"), reason="needs /dev/full or permissions")
def test_a_folder_that_cannot_be_written_leaves_nothing(files, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert _synthesize(files, blocked / "pairs") == 1
    assert "error: " in capsys.readouterr().err
    assert blocked.read_text() == "not a folder"


def test_unusual_pictures_are_handled(files, surfaces, split, tmp_path):
    """RGBA, palette, CMYK and 16-bit normals under the names that the split knows."""
    import shutil

    data = tmp_path / "surfaces"
    shutil.copytree(surfaces, data)
    goods = [data / name for name in split.train if "/train/good/" in name and name.startswith("brushed_metal")]
    grey = np.linspace(0, 65535, 96 * 96).reshape(96, 96).astype(np.uint16)
    for path, image in zip(goods, (Image.open(goods[0]).convert("RGBA"), Image.open(goods[1]).convert("P"),
                                   Image.fromarray(grey)), strict=False):  # fmt: skip
        image.save(path)
    assert _synthesize(files, tmp_path / "pairs", "--count", "12", data=str(data)) == 0
    kinds = set()
    for record in read_manifest(tmp_path / "pairs"):
        normal, result = (read_picture(tmp_path / "pairs" / record[key]) for key in ("normal", "image"))
        mask = read_mask(tmp_path / "pairs" / record["mask"]).numpy()
        assert normal.pixels.dtype == result.pixels.dtype and normal.pixels.shape == result.pixels.shape
        assert np.array_equal(normal.pixels[~mask], result.pixels[~mask])
        kinds.add((normal.pixels.dtype.name, normal.pixels.shape[2], normal.alpha is not None))
    assert {("uint8", 3, True), ("uint16", 1, False)} <= kinds


def test_a_truncated_normal_is_named_and_the_finished_pairs_stay(files, surfaces, tmp_path, capsys):
    import shutil

    data = tmp_path / "surfaces"
    shutil.copytree(surfaces, data)
    for path in data.glob("cast_grain/train/good/*.png"):
        path.write_bytes(path.read_bytes()[:2000])
    assert _synthesize(files, tmp_path / "pairs", "--count", "9", data=str(data)) == 1
    assert "cast_grain/train/good" in capsys.readouterr().err
