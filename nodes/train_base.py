"""Train Base: a compact base from the training part of a dataset, in ComfyUI, new or trained on from another one."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io, ui
from PIL import Image
from torch import Tensor

from ..datasets.sample import Sample, read_sample
from ..errors import Refused
from ..evaluation.base_quality import GATE
from ..evaluation.base_run import BaseRun, dataset_run, run_file
from ..images.drawing import named_rows
from ..images.windows import CONTEXT, cut_picture
from ..modules.compact_ldm import NORMAL, CompactLDM
from ..synthesis.adapters import Adapters
from ..synthesis.make import Encoded, Job, encoded_windows, made_windows
from ..synthesis.normal_fill import normal_fill
from ..synthesis.settings import MakeSettings, Settings
from ..training.base import PHASES, Watch
from ..training.run_file import RunFile
from ..training.settings import BaseTraining
from . import sockets
from .compact_base import base_names, base_outputs, base_path, loaded_base
from .errors import answer
from .folders import BASES, BUNDLED, model_files, writing_models
from .progress import passes
from .segmentation import training_device
from .sockets import CATEGORY, DATA_SEED, advanced, widget
from .split_dataset import Dataset, temporary
from .training_record import COUNT, TILE, Preview

NEW = "new"
ONLY_NEW = f"Only for start '{NEW}'."


class TrainBase(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        rare = {"optional": True, **advanced()}
        return io.Schema(
            node_id="SIAS_TrainBase",
            display_name="Train Base",
            category=f"{CATEGORY}/training",
            description=(
                "Trains a compact base on your surfaces and defects: another base trained on, or a new one. Writes it "
                "to models/anomaly_bases and gives it as MODEL and VAE. A training that was cancelled goes on where "
                "it was, as long as ComfyUI is not restarted."
            ),
            inputs=[
                sockets.Dataset.Input(
                    "dataset", tooltip="From Split Defect Dataset; the base learns from its training part only."
                ),
                io.Combo.Input(
                    "start",
                    options=[*base_names(), NEW],
                    default=BUNDLED,
                    tooltip="The base that is trained on: the bundled one (default), or a .safetensors in "
                    f"models/anomaly_bases. Its autoencoder stays. '{NEW}' trains from scratch, the "
                    "autoencoder first.",
                ),
                io.String.Input(
                    "base_name",
                    default="my_base",
                    tooltip="Name of the file, without .safetensors, with folders if you like. Default 'my_base'; "
                    "where another base has that name, my_base_00002 and so on. A base that was trained with the same "
                    "inputs is loaded instead of trained again.",
                ),
                widget(BaseTraining, "steps", max=1_000_000),
                widget(BaseTraining, "seed", **DATA_SEED),
                widget(BaseTraining, "autoencoder_steps", more=ONLY_NEW, max=1_000_000, **rare),
                widget(BaseTraining, "resolution", "crop", more=ONLY_NEW, max=1024, step=16, **rare),
                widget(BaseTraining, "batch", max=256, **rare),
                widget(BaseTraining, "learning_rate", min=1e-7, max=1.0, step=1e-6, round=False, **rare),
                widget(BaseTraining, "precision", **rare),
                io.Int.Input(
                    "look_every",
                    default=Watch.every,
                    min=1,
                    max=100_000,
                    tooltip=f"Steps between two previews, each of which takes seconds. Default {Watch.every}.",
                    **rare,
                ),
            ],
            outputs=[
                *base_outputs(),
                io.String.Output(
                    "record",
                    display_name="record",
                    tooltip="The file, steps, images, seconds, and the types of which the autoencoder keeps too little "
                    "contrast, in words.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, start, base_name):
        return answer(cls, _check, start, base_name)

    @classmethod
    def fingerprint_inputs(cls, start, **_):
        path = None if start is None else _init(start)
        return path and (path.stat().st_mtime_ns, path.stat().st_size)

    @classmethod
    def execute(
        cls,
        dataset,
        start: str,
        base_name: str,
        steps: int,
        seed: int,
        autoencoder_steps: int = BaseTraining.autoencoder_steps,
        crop: int = BaseTraining.resolution,
        batch: int = BaseTraining.batch,
        learning_rate: float = BaseTraining.learning_rate,
        precision: str = BaseTraining.precision,
        look_every: int = Watch.every,
    ) -> io.NodeOutput:
        settings = BaseTraining(
            resolution=crop,
            autoencoder_steps=autoencoder_steps,
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            seed=seed,
            precision=precision,
        )
        file, record = train(dataset, start, base_name, settings, look_every)
        return io.NodeOutput(*loaded_base(file), record, ui=ui.PreviewText(record))


def train(dataset: Dataset, start: str, name: str, settings: BaseTraining, look_every: int) -> tuple[str, str]:
    """Train on the dataset's training part, and write the base under the first name that no other base has; a training
    that was cancelled goes on where it was, at most a minute back.

    Args:
        start: the base that is trained on, as the menu has it, or `NEW`.
        look_every: steps of the UNet between two previews.

    Returns:
        the file's name, as Load Anomaly LDM lists it, and the record in words.

    Raises:
        Refused: no such base, a name outside the folder of bases, no defects or no normal images in the training part,
            a loss that is no longer finite, a folder that cannot be written.
    """
    started, init = time.monotonic(), _init(start)
    root, files = model_files(BASES, name)
    bar = _Bar(settings, init is None)
    preview = _Previewer(dataset.train)
    watch = Watch(
        report=bar.report,
        check_interrupt=comfy.model_management.throw_exception_if_processing_interrupted,
        show=lambda step, base: bar.show(step, preview(base)),
        every=look_every,
    )
    # The host runs its nodes in inference mode, in which nothing can be trained.
    with torch.inference_mode(False), torch.enable_grad(), passes(), writing_models(BASES, name):
        try:
            run = dataset_run(
                dataset.train,
                dataset.held_back,
                dataset.split.digest,
                settings,
                init,
                device=str(training_device()),
                watch=watch,
            )
        except Refused as error:
            raise error.of(start) from error  # the name in the menu, not the path
        state = temporary() / f"base-{hashlib.sha256(json.dumps(run.asked).encode()).hexdigest()[:24]}"
        file = _own_file(run, files, state)
        there = file.path.exists()
        record = run.written(file, state, resume=True)
    written = str(file.path.relative_to(root))
    seconds = None if there else time.monotonic() - started
    return written, in_words(written, record, start, seconds)


def in_words(file: str, record: dict, start: str, seconds: float | None) -> str:
    """The record in words; seconds: that the training took, None where the file was there already."""
    how = "a new base" if start == NEW else f"{start}, trained on"
    done = f"{record['training']['steps']} steps on {record['train_images']} images"
    took = "it was there already, from the same inputs" if seconds is None else f"in {seconds:.0f} s"
    sides = record["quality"].values()
    kept = [one for quality in sides for one in quality["contrast_kept"].items()]
    least = {label: min(share for name, share in kept if name == label) for label, _ in kept}
    pale = ", ".join(f"{label} {share:.0%}" for label, share in least.items() if share < GATE)
    quality = f"too little of their contrast, below {GATE:.0%}, of {pale}" if pale else "the contrast of every type"
    return f"{file}: {how}, {done}; {took}. Of the defects its autoencoder keeps {quality}."


def _check(start: str, name: str) -> None:
    """Raise Refused where there is no such base, or for a name outside the folder of bases."""
    _init(start)
    model_files(BASES, name)


def _init(start: str) -> Path | None:
    """The file of the base that is trained on; None for a new one. Raises Refused where there is none."""
    return None if start == NEW else base_path(start)


def _own_file(run: BaseRun, files: Sequence[Path], state: Path) -> RunFile:
    """The first file that is free, or that the same run wrote."""
    for path in files:
        try:
            file = run_file(path, state)
            run.finished(file, resume=True)
        except Refused:  # another base, or another process writes it
            continue
        return file
    raise AssertionError("names are counted without end")


class _Bar:
    """One bar over both phases."""

    def __init__(self, settings: BaseTraining, new: bool):
        before = settings.autoencoder_steps if new else 0
        self.before = dict(zip(PHASES, (0, before), strict=True))
        self.total = before + settings.steps
        self.bar = comfy.utils.ProgressBar(self.total)

    def report(self, phase: str, step: int, *_) -> None:
        self.bar.update_absolute(self.before[phase] + step, self.total)

    def show(self, step: int, preview: Preview) -> None:
        self.bar.update_absolute(self.before[PHASES[1]] + step, self.total, preview)


class _Previewer:
    """Real defects of the training part, one per type, over what a base draws in the same places."""

    def __init__(self, samples: Sequence[Sample]):
        first = {(sample.object, sample.type): sample for sample in reversed(samples) if sample.type != NORMAL}
        kinds = sorted(first)
        places = torch.linspace(0, len(kinds) - 1, min(COUNT, len(kinds))).long()
        self.samples = [first[kinds[place]] for place in places]
        self.real: list[Tensor] = []
        self.windows: list[Encoded] = []  # encoded once: the autoencoder is fixed while the UNet trains

    @torch.no_grad()
    def __call__(self, base: CompactLDM) -> Preview:
        if not self.windows:
            for sample in self.samples:
                self._read(base, sample)
        settings = Settings(steps=MakeSettings.steps, guidance=MakeSettings.guidance)
        made = [
            made_windows(base, windows, [(sample.object, sample.type)], [place], settings, Adapters())[0][0]
            for place, (sample, windows) in enumerate(zip(self.samples, self.windows, strict=True))
        ]
        rows = {"real": self.real, "drawn": made}
        sheet = named_rows({name: list(map(_image, images)) for name, images in rows.items()}, TILE)
        return "JPEG", sheet, max(sheet.size)

    def _read(self, base: CompactLDM, sample: Sample) -> None:
        picture, mask = read_sample(sample)
        # A base that edits sees what lies under the mask: there must be no defect.
        normal = normal_fill(base, picture, mask) if base.config.edits else picture
        job = Job(normal, mask, sample.object, sample.type, 0)
        windows = next(encoded_windows(base, [job], CONTEXT)).repeated([0], 1)
        self.windows.append(windows)
        self.real.append(cut_picture(picture, windows.parts[0].window))


def _image(image: Tensor) -> Image.Image:
    """[3, R, R] in 0 .. 1."""
    return Image.fromarray((image.movedim(0, -1) * 255).round().byte().numpy())


NODES = [TrainBase]
