"""Train Base: a base trained on and a new one, previews, cancelled and resumed, and names that are taken."""

from __future__ import annotations

from functools import cache

import comfy.model_management
import comfy.utils
import safetensors
import torch

from .fast_scenes import dataset
from .scenes import FORMS, condition, refused
from .start import BASES, TEMPORARY, call, own, room

NEW = {"start": "new", "crop": 32, "autoencoder_steps": 3}


def _train(**changed) -> tuple:
    widgets = {
        "dataset": dataset(),
        "start": "tiny.safetensors",
        "base_name": "mine",
        "steps": 2,
        "seed": 0,
        "batch": 2,
    }
    if changed.get("start", "") != "new":
        _tiny()
    return call("TrainBase", **widgets | changed)


@cache
def _tiny() -> None:
    """A base of drawn surfaces, untrained, that edits."""
    ldm, types = room("modules.compact_ldm"), ("good", *room("choices").DEFECTS)
    torch.manual_seed(0)
    config = ldm.CompactLDMConfig(
        tuple((ldm.ANY, type) for type in types), 32, 4, (16, 16), (32, 64), appearance=True, edits=True
    )
    room("modules.base_file").save_base(BASES / "tiny.safetensors", ldm.CompactLDM(config), {"drawn": 1})


def _states() -> list:
    return sorted((TEMPORARY / "anomaly_synthesis").glob("base-*.state"))


def check_a_base_is_trained_on_saved_and_samples():
    model, vae, resolution, record = _train(base_name="sub/tuned")
    assert resolution == 32 and record.startswith("sub/tuned.safetensors: tiny.safetensors, trained on, 2 steps on")
    base, notes = room("modules.base_file").load_base(BASES / "sub" / "tuned.safetensors")
    assert notes["split"] == dataset().split.digest and notes["train_images"] == len(dataset().train)
    room("modules.base_file").load_base_of(BASES / "sub" / "tuned.safetensors", dataset().split.digest)
    assert ("any", "crack") in base.config.labels and ("brushed_metal", "scratch") in base.config.labels
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:20, 8:20] = 1
    (latent,) = call("DefectLatent", image=torch.rand(1, 32, 32, 3), mask=mask, vae=vae, crop=None)
    assert FORMS[0](model, condition(model), latent).isfinite().all()
    assert not _states()


def check_the_node_writes_the_file_that_the_command_writes():
    _train(base_name="of node", **NEW)
    run, settings = room("evaluation.base_run"), room("training.settings").BaseTraining
    data = dataset()
    file, state = BASES / "of command.safetensors", TEMPORARY / "of command"
    with torch.inference_mode(False):
        made = run.dataset_run(
            data.train,
            data.held_back,
            data.split.digest,
            settings(resolution=32, autoencoder_steps=3, steps=2, batch=2),
        )
        made.written(run.run_file(file, state), state, False)
    assert file.read_bytes() == (BASES / "of node.safetensors").read_bytes()


def check_a_name_that_another_base_has_gets_a_number_and_the_same_run_is_loaded():
    first, other, again = (_train(base_name="taken", seed=seed)[3] for seed in (1, 2, 1))
    assert first.startswith("taken.safetensors: ") and other.startswith("taken_00002.safetensors: ")
    assert again.startswith("taken.safetensors: ") and "it was there already" in again
    assert sorted(path.name for path in BASES.glob("taken*.safetensors")) == [
        "taken.safetensors",
        "taken_00002.safetensors",
    ]


def check_previews_come_while_it_trains_and_the_bar_covers_both_phases():
    shown, real = [], comfy.utils.ProgressBar.update_absolute

    def update(self, value, total=None, preview=None):
        shown.append((value, total, preview))
        return real(self, value, total, preview)

    comfy.utils.ProgressBar.update_absolute = update
    try:
        _train(base_name="looked at", steps=5, look_every=2)
        looks = [(value, total) for value, total, preview in shown if preview]
        assert looks == [(2, 5), (4, 5), (5, 5)], looks
        shown.clear()
        _train(base_name="looked at, new", look_every=1, **NEW)
    finally:
        comfy.utils.ProgressBar.update_absolute = real
    assert [(value, total) for value, total, preview in shown if preview] == [(4, 5), (5, 5)]
    assert (3, 5, None) in shown  # the end of the autoencoder
    kind, sheet, side = next(preview for _, _, preview in reversed(shown) if preview)
    assert kind == "JPEG" and side == max(sheet.size) and sheet.height > 2 * 128 and sheet.width > 3 * 128


def check_a_cancelled_training_resumes_where_it_stopped():
    training, loop, host = room("training.base"), room("training.loop"), comfy.model_management
    taken = []

    def cancelled(*args, check_interrupt, **more):
        def press_cancel():
            taken.append(args[0])
            if len(taken) == 6:
                host.interrupt_current_processing()
            check_interrupt()

        return loop.train(*args, check_interrupt=press_cancel, **more | {"save_every": 0})

    training.train = cancelled
    try:
        _train(base_name="cancelled", **NEW | {"steps": 5})
        raise AssertionError("it was not interrupted")
    except host.InterruptProcessingException:
        pass
    assert not list(BASES.glob("cancelled*"))
    steps = []
    for state in _states():
        with safetensors.safe_open(state, "pt") as file:
            steps.append(file.metadata()["step"])
    assert steps == ["3", "2"]
    try:
        _train(base_name="cancelled", **NEW | {"steps": 5})
    finally:
        training.train = loop.train
    assert taken == ["autoencoder"] * 3 + ["unet"] * (3 + 3) and not _states()
    _train(base_name="whole", **NEW | {"steps": 5})
    assert (BASES / "whole.safetensors").read_bytes() == (BASES / "cancelled.safetensors").read_bytes()


def check_what_is_refused():
    node = "Train Base: "
    with refused(node, "no base 'gone.safetensors'", str(BASES)):
        _train(start="gone.safetensors")
    for name in ("../outside", "/tmp/outside", "", "a\0b"):
        with refused(node, "is not below", str(BASES)):
            _train(base_name=name)
    assert "is not below" in own("TrainBase").validate_inputs(start="new", base_name="../outside")
    assert own("TrainBase").validate_inputs(start="new", base_name=None) is True
    (BASES / "text.safetensors").write_text("no weights")
    with refused(node, "text.safetensors: no readable safetensors file"):
        _train(start="text.safetensors")
    with refused(node, "steps"):
        _train(steps=0)
