"""The bundled base and the demo that it makes: what a new user sees first."""

import time

import numpy as np
import pytest
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.pairs import read_manifest
from anomaly_synthesis.evaluation.base_quality import GATE
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import read_picture
from anomaly_synthesis.modules.base_file import SURFACES, load_base

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The demo's folder and its seconds of processor time, which other work beside it does not change, at ten steps."""
    out = tmp_path_factory.mktemp("demo") / "out"
    started = time.process_time()
    assert cli.main(["demo", "--out", str(out), "--steps", "10"]) == 0
    return out, time.process_time() - started


def test_the_bundled_base_is_small_and_keeps_contrast():
    _, record = load_base(SURFACES)
    assert SURFACES.stat().st_size <= 20e6
    assert all(kept >= GATE for kept in record["quality"]["held_back"]["contrast_kept"].values())


def test_sixteen_pairs_over_all_materials(made):
    records = read_manifest(made[0])
    assert len(records) == 16 and len({record["object"] for record in records}) == 4
    assert len({record["type"] for record in records}) == 5
    assert (made[0] / "sheet.png").stat().st_size > 100_000


def test_backgrounds_are_exact_and_defects_show(made):
    shown = 0
    for record in read_manifest(made[0]):
        normal, result = (read_picture(made[0] / record[key]).pixels.astype(int) for key in ("normal", "image"))
        mask = read_mask(made[0] / record["mask"]).numpy()
        assert np.array_equal(normal[~mask], result[~mask])
        shown += np.abs(result - normal)[mask].mean() > 4
    assert shown >= 15


def test_it_takes_less_than_a_minute(made):
    assert made[1] < 60


def test_a_second_demo_keeps_the_first_and_a_foreign_folder_is_refused(made, tmp_path, capsys):
    before = (made[0] / "manifest.jsonl").read_bytes()
    assert cli.main(["demo", "--out", str(made[0]), "--steps", "10"]) == 0
    assert (made[0] / "manifest.jsonl").read_bytes() == before
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main(["demo", "--out", str(tmp_path)]) == 1
    assert "choose another folder" in capsys.readouterr().err and (tmp_path / "notes.txt").read_text() == "mine"
