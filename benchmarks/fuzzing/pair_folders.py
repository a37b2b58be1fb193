"""Folders of pairs whose manifest, records or pictures are damaged: `worst`, `inspect`, `export` and its resume."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
from anomaly_synthesis.datasets.exports import FORMATS
from anomaly_synthesis.datasets.pairs import SCORES, PairWriter
from anomaly_synthesis.images.pictures import Picture

from .mutations import damage


class Pairs:
    """`worst`, `inspect` and `export` of a damaged folder of pairs; its export, damaged, and resumed."""

    def prepare(self) -> None:
        """A sound folder of four pairs, copied for every input."""
        self._sound = Path(tempfile.mkdtemp(prefix="fuzz-pairs-")) / "pairs"
        draw_pairs(self._sound)

    def meet(self, rng: random.Random, folder: Path, met) -> None:
        pairs, out = folder / "pairs", folder / "export"
        shutil.copytree(self._sound, pairs)
        formats, options = rng.choice(list(FORMATS)), rng.choice(([], [], ["--no-normals"], ["--visible-only"]))
        export = ("export", "--pairs", pairs, "--format", formats, "--out", out, *options)
        if rng.random() < 0.4:
            met.command(*export)
            for _ in range(rng.randint(1, 3)):
                damage(rng, out)
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            damage(rng, _manifest_folder(rng, folder, pairs))
        met.command("worst", "--pairs", pairs, "--by", rng.choice(SCORES), "--out", folder / "worst.png")
        met.command(*export, *(["--resume"] if out.exists() else []))
        met.command("inspect", pairs)


def draw_pairs(root: Path, count: int = 4) -> None:
    """A folder of pairs as `synthesize` writes it, of small pictures."""
    writer, draw = PairWriter(root, {"seed": 0}), np.random.default_rng(0)
    for index in range(count):
        normal = draw.integers(0, 256, (24, 24, 3), np.uint8)
        mask = np.zeros((24, 24), bool)
        mask[4:12, 6 : 10 + index] = True
        image = np.where(mask[..., None], 255 - normal, normal)
        scores = {**dict.fromkeys(SCORES, 0.5 + index), "visible": True, "base": "b", "adapter": None}
        writer.write(
            index=index,
            object="part",
            type=("crack", "dent")[index % 2],
            stem=f"{index:06d}",
            picture=Picture(image),
            mask=mask,
            normal_source=Picture(normal),
            record={"item": index, "seed": index, "seconds": 1.5, **scores},
        )


def _manifest_folder(rng: random.Random, folder: Path, pairs: Path) -> Path:
    """The folder to damage: the records more often than their share of the files."""
    if rng.random() < 0.5:
        return pairs
    records = folder / "records"
    records.mkdir(exist_ok=True)
    for name in ("manifest.jsonl", "run.json"):
        with contextlib.suppress(OSError):  # already made, or already damaged
            (records / name).hardlink_to(pairs / name)
    return records
