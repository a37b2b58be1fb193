"""The command line from surfaces to pairs, and its errors for bad input."""

import json
import shutil

import numpy as np
import pytest
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.pairs import read_dropped, read_manifest
from anomaly_synthesis.datasets.split import save_split
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import read_picture
from anomaly_synthesis.modules.base_file import load_base, save_base
from PIL import Image

TRAIN = ["--resolution", "32", "--autoencoder-steps", "2", "--steps", "2", "--batch", "2"]


@pytest.fixture(scope="module")
def files(tmp_path_factory, surfaces, split, tiny_base):
    """Paths of a split and of a base, as strings by name."""
    folder = tmp_path_factory.mktemp("files")
    save_split(split, folder / "split.json")
    save_base(folder / "base.safetensors", tiny_base, {"split": split.digest})
    return {"data": str(surfaces), "split": str(folder / "split.json"), "base": str(folder / "base.safetensors")}


def _synthesize(files, out, *more, **changed):
    files = files | changed
    return cli.main(
        [
            "synthesize",
            "--base",
            files["base"],
            "--data",
            files["data"],
            "--split",
            files["split"],
            "--out",
            str(out),
            "--steps",
            "3",
            "--policy",
            "keep",
            *(more or ("--count", "2")),
        ]
    )


@pytest.mark.slow
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


@pytest.mark.slow
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
        (("--count", "0"), "--count: 0; accepted is 1 or more"),
        (("--count", "1", "--redraw", "-1"), "--redraw: -1; accepted is 0 or more"),
        (("--count", "1", "--policy", "refine", "--rounds", "0"), "--rounds: 0; accepted is 1 or more"),
        (("--count", "1", "--policy", "refine", "--redraw", "1"), "leave redraw out"),
        (("--count", "1", "--negatives", "0"), "--negatives: 0"),
        (("--count", "1", "--types", "dent"), "dent"),
        (("--count", "1", "--feather", "-2"), "--feather: -2"),
        (("--count", "1", "--guidance", "nan"), "--guidance: nan"),
        (("--count", "1", "--preset", "paper", "--steps", "0"), "--steps: 0; accepted is 1 to 1000"),
        (("--count", "1", "--steps", "1001"), "1 to 1000"),
        (("--count", "1", "--device", "abacus"), "--device: abacus"),
    ],
)
def test_bad_options_exit_1_with_a_message(files, tmp_path, capsys, more, words):
    assert _synthesize(files, tmp_path / "pairs", *more) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error
    assert not (tmp_path / "pairs").exists(), "a refused command must leave nothing that blocks the corrected one"


@pytest.mark.parametrize(
    ("policy", "words"), [("drop", "of 3 dropped as not visible"), ("refine", "refined from first draw to kept")]
)
def test_policies_report_their_effect_and_are_part_of_the_run(files, tmp_path, capsys, policy, words):
    out, options = tmp_path / "pairs", ("--count", "3", "--rounds", "1", "--negatives", "8")
    assert _synthesize(files, out, *options, "--policy", policy) == 0
    assert words in capsys.readouterr().out and (out / "sheet.png").exists()
    assert len(read_manifest(out)) + len(read_dropped(out)) == 3
    assert _synthesize(files, out, *options, "--resume") == 1
    assert "policy" in capsys.readouterr().err


def test_missing_and_foreign_files_exit_1_with_a_message(files, tmp_path, capsys):
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
    for arguments in ([], ["synthesize"], ["nonsense"], ["demo", "--out", "d", "--preset", "best"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 2


@pytest.mark.parametrize("command", ["demo", "surfaces", "split", "train-base", "synthesize"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0 and "--out" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_leaves_nothing(files, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert _synthesize(files, blocked / "pairs") == 1
    assert "error: " in capsys.readouterr().err
    assert blocked.read_text() == "not a folder"


@pytest.mark.slow
def test_unusual_pictures_are_handled(surfaces, tmp_path, tiny_base):
    """RGBA, palette, CMYK and 16-bit normals keep depth, channels and alpha."""
    data, split = tmp_path / "surfaces", tmp_path / "split.json"
    shutil.copytree(surfaces, data)
    goods = sorted(data.glob("brushed_metal/train/good/*.png"))
    Image.open(goods[0]).convert("RGBA").save(goods[0])
    Image.open(goods[1]).convert("P").save(goods[1])
    Image.fromarray(np.linspace(0, 65535, 96 * 96).reshape(96, 96).astype(np.uint16)).save(goods[2])
    Image.open(goods[1]).convert("CMYK").save(goods[1].with_name("003.jpg"))
    assert cli.main(["split", "--data", str(data), "--ungrouped", "--out", str(split)]) == 0
    save_base(tmp_path / "base.safetensors", tiny_base, {"split": json.loads(split.read_text())["digest"]})
    files = {"data": str(data), "split": str(split), "base": str(tmp_path / "base.safetensors")}
    assert _synthesize(files, tmp_path / "pairs", "--count", "40") == 0
    kinds = set()
    for record in read_manifest(tmp_path / "pairs"):
        normal, result = (read_picture(tmp_path / "pairs" / record[key]) for key in ("normal", "image"))
        mask = read_mask(tmp_path / "pairs" / record["mask"]).numpy()
        assert normal.pixels.dtype == result.pixels.dtype and normal.pixels.shape == result.pixels.shape
        assert np.array_equal(normal.pixels[~mask], result.pixels[~mask])
        suffix = record["normal"][-4:]
        kinds.add((suffix, normal.pixels.dtype.name, normal.pixels.shape[2], normal.alpha is not None))
    assert {(".png", "uint8", 3, True), (".png", "uint16", 1, False), (".jpg", "uint8", 3, False)} <= kinds


def _damage_picture(data):
    for path in data.glob("cast_grain/train/good/*.png"):
        path.write_bytes(path.read_bytes()[:2000])


def _damage_size(data):
    for path in data.glob("cast_grain/ground_truth/*/*.png"):
        Image.new("L", (160, 60), 255).save(path)


def _damage_mask(data):
    for path in data.glob("cast_grain/ground_truth/*/*.png"):
        Image.new("L", (96, 96), 0).save(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [(_damage_picture, "train/good"), (_damage_size, "60"), (_damage_mask, "_mask.png")],
    ids=["truncated picture", "mask of another size", "empty mask"],
)
def test_what_cannot_be_used_is_named_before_work_starts(surfaces, tmp_path, capsys, damage, words, tiny_base):
    data, split = tmp_path / "surfaces", tmp_path / "split.json"
    shutil.copytree(surfaces, data)
    damage(data)
    assert cli.main(["split", "--data", str(data), "--ungrouped", "--out", str(split)]) == 0
    save_base(tmp_path / "base.safetensors", tiny_base, {"split": json.loads(split.read_text())["digest"]})
    files = {"data": str(data), "split": str(split), "base": str(tmp_path / "base.safetensors")}
    train = ["train-base", "--data", str(data), "--split", str(split), "--out", str(tmp_path / "b.safetensors"), *TRAIN]
    before = sorted(tmp_path.rglob("*"))
    for command in (lambda: _synthesize(files, tmp_path / "pairs"), lambda: cli.main(train)):
        code, error = command(), capsys.readouterr().err
        assert code == 1 and "cast_grain" in error and words in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_base_of_another_split_is_refused_without_the_option(files, surfaces, tmp_path, capsys):
    split = tmp_path / "split.json"
    assert cli.main(["split", "--data", str(surfaces), "--ungrouped", "--seed", "7", "--out", str(split)]) == 0
    assert _synthesize(files, tmp_path / "pairs", split=str(split)) == 1
    assert "--foreign-base" in capsys.readouterr().err
    assert _synthesize(files, tmp_path / "pairs", "--count", "1", "--foreign-base", split=str(split)) == 0


def test_a_finished_base_is_not_resumed_with_other_settings(files, tmp_path, capsys):
    out = tmp_path / "base.safetensors"
    train = ["train-base", "--data", files["data"], "--split", files["split"], "--out", str(out), *TRAIN]
    assert cli.main([*train, "--seed", "20260101"]) == 0
    assert cli.main([*train, "--resume"]) == 1
    assert "finished, with other training" in capsys.readouterr().err


def test_a_damaged_state_is_named(files, tmp_path, capsys):
    out = tmp_path / "base.safetensors"
    (tmp_path / "base.safetensors.autoencoder.state").write_bytes(b"cut")
    train = ["train-base", "--data", files["data"], "--split", files["split"], "--out", str(out), *TRAIN, "--resume"]
    assert cli.main(train) == 1
    assert "autoencoder.state: damaged training state" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluate_writes_a_report_and_says_what_it_cannot_do(files, tmp_path, capsys):
    given = ["evaluate", "--data", files["data"], "--split", files["split"], "--out", str(tmp_path / "study")]
    short = ["--networks", "small_unet", "--seeds", "1", "--steps", "1"]
    assert cli.main([*given, "--methods", "real-only", *short]) == 0
    assert "| real-only | 1 |" in (tmp_path / "study" / "report.md").read_text()
    assert cli.main([*given, "--methods", "magic"]) == 1
    assert "unknown method 'magic'" in capsys.readouterr().err


def _as_coco(surfaces, root):
    """The surfaces with their masks as run lengths in one COCO file per material."""
    for material in sorted(path.name for path in surfaces.iterdir() if path.is_dir()):
        (root / material / "images").mkdir(parents=True)
        samples = [one for one in read_mvtec(surfaces) if one.object == material]
        types = sorted({one.type for one in samples} - {"good"})
        images, annotations = [], []
        for number, one in enumerate(samples):
            name = one.name.replace("/", "_")
            shutil.copy(one.image, root / material / "images" / name)
            images.append({"id": number, "file_name": name, "height": 96, "width": 96})
            if one.mask is not None:
                flat = read_mask(one.mask).numpy().T.ravel()
                edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [not flat[-1]]])))
                counts = np.diff(np.concatenate([[0], edges])).tolist()
                annotations.append(
                    {
                        "id": number,
                        "image_id": number,
                        "category_id": types.index(one.type),
                        "segmentation": {"size": [96, 96], "counts": counts},
                    }
                )
        categories = [{"id": number, "name": name} for number, name in enumerate(types)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / material / "annotations.json").write_text(json.dumps(content))


@pytest.mark.slow
def test_another_layout_goes_through_the_commands(surfaces, tmp_path, tiny_base, capsys):
    data, split = tmp_path / "coco", tmp_path / "split.json"
    _as_coco(surfaces, data)
    assert cli.main(["inspect", str(data)]) == 0
    assert "COCO layout (brushed_metal: annotations.json lists images" in capsys.readouterr().out
    assert cli.main(["split", "--data", str(data), "--ungrouped", "--out", str(split)]) == 0
    save_base(tmp_path / "base.safetensors", tiny_base, {"split": json.loads(split.read_text())["digest"]})
    files = {"data": str(data), "split": str(split), "base": str(tmp_path / "base.safetensors")}
    assert _synthesize(files, tmp_path / "pairs") == 0
    for record in read_manifest(tmp_path / "pairs"):
        assert record["mask_source"].startswith("{0}/images/{0}_test_{1}_".format(record["object"], record["type"]))
    train = ["train-base", "--data", str(data), "--split", str(split), "--out", str(tmp_path / "b.safetensors"), *TRAIN]
    assert cli.main(train) == 0


def test_help_describes_the_layouts_of_data(capsys):
    for command in ("inspect", "split", "synthesize", "evaluate"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert "`anomaly-synthesis inspect DIR`" in text and "COCO" in text


@pytest.mark.parametrize("option", ["--sheet", "--json"])
def test_inspect_reports_an_output_that_cannot_be_written_before_it_reads(option, tmp_path, capsys, monkeypatch):
    from anomaly_synthesis.datasets import inspection

    monkeypatch.setattr(inspection, "inspect_dataset", lambda *_: pytest.fail("the dataset was read"))
    assert cli.main(["inspect", str(tmp_path), option, str(tmp_path / "no" / "sheet.png")]) == 1
    assert f"{option} {tmp_path / 'no' / 'sheet.png'}" in capsys.readouterr().err
