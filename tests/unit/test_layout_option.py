"""A folder that fits two layouts: every command that reads data refuses it, and takes the one that is named."""

import pytest
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.procedural import write_surfaces
from anomaly_synthesis.datasets.split import load_split, save_split
from anomaly_synthesis.modules.base_file import save_base


@pytest.fixture(scope="module")
def given(tmp_path_factory, tiny_base):
    """Paths by option: cast grain in MVTec layout beside a folder of images and masks, a split and a base of it."""
    root = tmp_path_factory.mktemp("two")
    data, split, base = root / "data", root / "split.json", root / "base.safetensors"
    write_surfaces(data, materials=("cast_grain",), normals=3, defects=4, size=64)
    for folder, source in (("images", "test/pit/000.png"), ("masks", "ground_truth/pit/000_mask.png")):
        (data / "part" / folder).mkdir(parents=True)
        (data / "part" / folder / "1.png").write_bytes((data / "cast_grain" / source).read_bytes())
    options = ["--data", str(data), "--ungrouped", "--out", str(split), "--share", "0.5"]
    assert cli.main(["split", *options]) == 1
    assert cli.main(["split", *options, "--layout", "mvtec"]) == 0
    save_base(base, tiny_base, {"split": load_split(split).digest})
    return ["--data", str(data), "--split", str(split)], ["--base", str(base)]


@pytest.mark.parametrize(
    ("command", "out", "more"),
    [
        ("train-base", "base.safetensors", ["--resolution", "32", "--autoencoder-steps", "1", "--steps", "1"]),
        ("train", "adapter.safetensors", ["--steps", "1", "--batch", "1", "BASE"]),
        ("synthesize", "pairs", ["--count", "1", "--steps", "2", "--negatives", "1", "BASE"]),
        (
            "evaluate",
            "study",
            ["--methods", "real-only", "--networks", "small_unet", "--seeds", "1", "--count", "1", "--steps", "1"],
        ),
    ],
)
def test_the_layout_that_is_named_is_read(given, tmp_path, capsys, command, out, more):
    data, base = given
    more = [*more[:-1], *base] if more[-1] == "BASE" else more
    arguments = [command, *data, "--out", str(tmp_path / out), *more]
    assert cli.main(arguments) == 1 and "it could be in 2 layouts: mvtec" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert cli.main([*arguments, "--layout", "stems"]) == 1
    assert "could be in" not in capsys.readouterr().err
    assert cli.main([*arguments, "--layout", "mvtec"]) == 0


def test_a_study_resumes_whether_the_layout_is_named_or_detected(surfaces, split, tmp_path):
    save_split(split, tmp_path / "split.json")
    arguments = [
        "evaluate",
        "--data",
        str(surfaces),
        "--split",
        str(tmp_path / "split.json"),
        "--out",
        str(tmp_path / "study"),
        "--methods",
        "real-only",
        "--networks",
        "small_unet",
        "--seeds",
        "1",
        "--steps",
        "1",
    ]
    assert cli.main(arguments) == 0 and cli.main([*arguments, "--layout", "mvtec"]) == 0
