"""Memory of passes over many images: that of one image, however many there are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anomaly_synthesis
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
SIZE, FEW, MANY = (700, 900), 12, 48
MEGABYTE = 1 << 20
# The peak is read after a few images and after many, in a process of its own: what pytest holds does not hide it.
SCRIPT = """
import json, resource, sys
from anomaly_synthesis.datasets.groups import groups_from_near_duplicates
from anomaly_synthesis.datasets.inspection import inspect_dataset
from anomaly_synthesis.datasets.reading import read_dataset
from anomaly_synthesis.training.crops import PictureCache

def read(root):
    if sys.argv[1] == "inspect":
        inspect_dataset(root)
    elif sys.argv[1] == "split":
        groups_from_near_duplicates(read_dataset(root))
    else:
        pictures = PictureCache()
        for sample in read_dataset(root):
            pictures.read(sample)

peaks = []
for root in sys.argv[2:]:
    read(root)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(json.dumps(peaks))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of photographs: a few, and many."""
    found = []
    for count in (FEW, MANY):
        good = tmp_path_factory.mktemp("photographs") / "part" / "train" / "good"
        good.mkdir(parents=True)
        for number in range(count):
            shade = np.linspace(number, 255 - number, SIZE[1]).astype(np.uint8)
            picture = Image.fromarray(np.broadcast_to(shade[None, :, None], (*SIZE, 3)).copy())
            picture.save(good / f"{number}.png", compress_level=1)
        found.append(good.parents[2])
    return found


def _growth(what, folders):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, what, *map(str, folders)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folders[0],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(anomaly_synthesis.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    few, many = json.loads(done.stdout)
    return (many - few) / MEGABYTE


@pytest.mark.parametrize("what", ["inspect", "split"])
def test_a_pass_over_four_times_the_images_needs_no_more_memory(folders, what):
    assert _growth(what, folders) < 30, "MB for 36 images more, each of 1.9 MB decoded and 7.6 MB as floats"


def test_the_training_cache_holds_little_more_than_the_images_it_keeps(folders):
    kept = (MANY - FEW) * 3 * SIZE[0] * SIZE[1] / MEGABYTE
    # The few images' cache is free again when the many are read, so the growth is at most what is kept.
    assert _growth("cache", folders) < 1.3 * kept
