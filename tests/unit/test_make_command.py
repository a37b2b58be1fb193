"""The commands make and draw: image and mask in, image and mask out, and clear refusals."""

import numpy as np
import pytest
from anomaly_synthesis.cli import main
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import Picture, read_picture, write_mask, write_picture
from anomaly_synthesis.modules.base_file import save_base

from .test_photograph import photograph, small_base


@pytest.fixture
def folder(tmp_path, monkeypatch):
    picture, mask = photograph(size=200)
    write_picture(tmp_path / "part.png", picture)
    write_mask(tmp_path / "mask.png", mask)
    save_base(tmp_path / "base.safetensors", small_base(appearance=True), {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pair(folder, name: str) -> tuple[np.ndarray, np.ndarray]:
    return read_picture(folder / f"{name}.png").pixels, read_mask(folder / f"{name}_mask.png").numpy()


@pytest.mark.parametrize("command", ["make", "draw"])
def test_an_image_and_its_mask_are_written_and_nothing_else_changes(folder, capsys, command):
    more = ["--base", "base.safetensors", "--steps", "2"] if command == "make" else []
    assert main([command, "part.png", "--mask", "mask.png", "--type", "pit", *more]) == 0
    image, mask = pair(folder, "part_pit")
    normal, given = read_picture(folder / "part.png").pixels, read_mask(folder / "mask.png").numpy()
    assert np.array_equal(image[~mask], normal[~mask]) and (image[mask] != normal[mask]).any()
    assert mask.any() and (mask <= given).all()
    assert f"part_pit.png and part_pit_mask.png: {mask.sum()} px" in capsys.readouterr().out


def test_the_mask_as_given_and_a_given_name(folder):
    arguments = ["--base", "base.safetensors", "--steps", "2", "--mask-as-given", "--out", "mine.png"]
    assert main(["make", "part.png", "--mask", "mask.png", *arguments]) == 0
    assert np.array_equal(pair(folder, "mine")[1], read_mask(folder / "mask.png").numpy())


@pytest.mark.parametrize("command", ["make", "draw"])
@pytest.mark.parametrize(
    "changed, words",
    [
        (["--type", "spaghetti"], ("spaghetti", "crack")),
        (["--mask", "small.png"], ("20", "200", "size")),
        (["--mask", "empty.png"], ("mask", "empty")),
        (["--mask", "none.png"], ("none.png",)),
        (["--out", "part.png"], ("overwrite", "--out")),
        (["--out", "part.jpg"], (".png",)),
        (["--out", "away/part.png"], ("away", "create")),
        (["--seed", "-1"], ("--seed", "0 or more")),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(folder, capsys, command, changed, words):
    write_mask(folder / "small.png", np.ones((20, 20), bool))
    write_mask(folder / "empty.png", np.zeros((200, 200), bool))
    before = sorted(folder.iterdir()), (folder / "part.png").read_bytes()
    more = ["--base", "base.safetensors"] if command == "make" else []
    assert main([command, "part.png", "--mask", "mask.png", *more, *changed]) == 1
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert (sorted(folder.iterdir()), (folder / "part.png").read_bytes()) == before


def test_a_picture_of_16_bit_stays_one(folder):
    deep = Picture(read_picture(folder / "part.png").pixels[..., :1].astype(np.uint16) * 257)
    write_picture(folder / "deep.png", deep)
    assert main(["draw", "deep.png", "--mask", "mask.png", "--type", "stain"]) == 0
    assert pair(folder, "deep_stain")[0].dtype == np.uint16
