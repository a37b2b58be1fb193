"""STAGE's training inside the host: to a file and back, on kept tokens, cancelled, and short of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import comfy.model_management
import comfy.samplers
import comfy.utils
import numpy as np
import safetensors
import torch

from .fast_scenes import ADAPTERS, FakeVAE, bits, dataset, random_adapter, same, sd15
from .scenes import base, refused
from .stage_training_scenes import fast_adapter, train
from .start import TEMPORARY, call, room

STATES = TEMPORARY / "anomaly_synthesis"


def _heads(adapter) -> list[float]:
    """How far each head is from having no effect."""
    return [head.conv[-1].weight.abs().max().item() for head in adapter.modules.branches]


def check_small_heads_are_small():
    adapter, *_ = train(heads="small")
    assert adapter.modules.aware.widths == room("modules.mga").SMALL


def check_train_save_and_load():
    before = bits(base()[0])
    stage = room("training.stage")
    adapter, record, curve = train(seed=3, widths=room("modules.mga").WIDTHS)
    assert adapter.adapter.training["settings"] == asdict(stage.StageTraining(steps=2, batch=2, tokens=3, seed=3)), (
        "the defaults of the node are those of the command line"
    )
    assert same(base()[0], before) and base()[0].model.current_patcher is None
    assert not list(STATES.glob("stage-*.state")) and adapter.adapter.split == dataset().split.digest
    assert "2 steps on" in record and "both heads' noise has" in record and curve.ndim == 4 and curve.std() > 0
    assert min(_heads(adapter)) > 0 and adapter.modules.tokens.rows.shape == (3, 3, 128)
    (file,) = call("SaveSTAGEAdapter", adapter=adapter, name="sub/heads")
    assert file == "sub/heads.safetensors" and (ADAPTERS / file).is_file()
    assert call("SaveSTAGEAdapter", adapter=adapter, name="sub/heads.safetensors") == ("sub/heads_00002.safetensors",)
    (again,) = call("LoadSTAGEAdapter", adapter_name=file)
    for one, other in zip(*(a.modules.state_dict().values() for a in (adapter, again)), strict=True):
        assert torch.equal(one, other)
    with refused("Load FAST Adapter: ", "adapter: one of STAGE; accepted is one of FAST"):
        call("LoadFASTAdapter", adapter_name=file)


def check_a_model_of_sd15s_shape_trains_to_a_file():
    """20 M parameters, by text; the model stays unchanged, and its memory is counted."""
    model, text = sd15(), [[torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(1)), {}]]
    before = bits(model)
    adapter, record, _ = train(model, FakeVAE(), conditioning=text, checkpointing="on")
    assert same(model, before) and model.model.current_patcher is None
    assert all(weight.grad is None for weight in model.model.parameters())
    assert "2 steps" in record and "with checkpointing" in record and min(_heads(adapter)) > 0
    assert adapter.adapter.base.token_channels == 768 and adapter.adapter.base.prediction == "eps"
    (file,) = call("SaveSTAGEAdapter", adapter=adapter, name="heads-by-text")
    assert call("LoadSTAGEAdapter", adapter_name=file)[0].adapter.types == adapter.adapter.types
    return {"GB kept": round(adapter.adapter.training["memory"]["bytes"] / 1e9, 3)}


@contextmanager
def _counted() -> Iterator[list]:
    """The calls of the denoiser."""
    calls, real = [], comfy.samplers.calc_cond_batch

    def counted(*args):
        calls.append(1)
        return real(*args)

    comfy.samplers.calc_cond_batch = counted
    try:
        yield calls
    finally:
        comfy.samplers.calc_cond_batch = real


def check_kept_tokens_stay_and_the_denoiser_is_called_once_per_draw():
    kept, counts = fast_adapter(), []
    for steps in (2, 4):  # of two crops each: 8 draws at most, which are denoised together
        with _counted() as calls:
            adapter, record, _ = train(tokens_of=kept, steps=steps, tokens=5)
        counts.append(len(calls))
        assert torch.equal(adapter.modules.tokens.rows, kept.modules.tokens.rows) and min(_heads(adapter)) > 0
        assert "The tokens are those of trained here." in record and "Warning" not in record
        assert adapter.adapter.split == dataset().split.digest
    assert counts[0] == counts[1]
    return {"calls": counts}


def check_tokens_of_another_split_are_reported_and_the_adapter_names_no_split():
    adapter, record, _ = train(tokens_of=random_adapter())
    rows = [random_adapter().modules.tokens.row(*type) for type in adapter.adapter.types]
    assert torch.equal(adapter.modules.tokens.rows, random_adapter().modules.tokens.rows[rows])
    assert adapter.adapter.split == "" and "Warning: they were trained under another split" in record


def check_the_schedule_and_the_mean_are_those_of_the_settings():
    schedule = room("samplers.mask_schedule").MaskSchedule(350, shape="cosine")
    used = train(mask_schedule=schedule, normalise=False)[0].adapter.training["settings"]
    assert (used["t_s"], used["shape"], used["normalise"]) == (350, "cosine", False)


def check_a_preview_against_the_base_alone_comes_at_every_look():
    shown, real = [], comfy.utils.ProgressBar.update_absolute

    def update(self, value, total=None, preview=None):
        if preview is not None:
            shown.append((value, preview))
        return real(self, value, total, preview)

    comfy.utils.ProgressBar.update_absolute = update
    try:
        train(steps=3, look_every=2, seed=11)
    finally:
        comfy.utils.ProgressBar.update_absolute = real
    assert [step for step, _ in shown] == [2, 3]
    for _, (kind, sheet, side) in shown:
        assert kind == "JPEG" and side == max(sheet.size) and sheet.size == (3 * 132 - 4, 4 * 132 - 4)
    given, alone, aware, only = (
        np.asarray(shown[-1][1][1].crop((0, row * 132 + 20, 392, row * 132 + 128))) for row in range(4)
    )
    assert (given != alone).any() and (alone != aware).any() and (aware != only).any()


def check_a_cancelled_training_resumes_where_it_stopped():
    """Cancelled at the fifth step, as the host does it; with new tokens, and with kept ones."""
    training, loop, host = room("training.adapter_loop"), room("training.loop"), comfy.model_management
    for kept in (None, random_adapter()):
        taken = []

        def cancelled(*args, check_interrupt, taken=taken, **more):
            def press_cancel():
                taken.append(1)
                if len(taken) == 5:
                    host.interrupt_current_processing()
                check_interrupt()

            return loop.train(*args, check_interrupt=press_cancel, save_every=0, **more)

        training.train = cancelled
        try:
            train(steps=6, seed=6, tokens_of=kept)
            raise AssertionError("it was not interrupted")
        except host.InterruptProcessingException:
            pass
        (state,) = STATES.glob("stage-*.state")
        with safetensors.safe_open(state, "pt") as file:
            assert file.metadata()["step"] == "4"
        assert base()[0].model.current_patcher is None
        try:
            resumed, _, _ = train(steps=6, seed=6, tokens_of=kept)
        finally:
            training.train = loop.train
        assert len(taken) == 5 + 2 and not state.exists()
        whole, _, _ = train(steps=6, seed=6, tokens_of=kept)
        for one, other in zip(*(a.modules.state_dict().values() for a in (resumed, whole)), strict=True):
            assert torch.equal(one, other)


def check_a_training_is_cancelled_while_the_denoiser_fills_the_cache():
    host, before = comfy.model_management, bits(base()[0])

    def press_cancel(self, value, total=None, preview=None):
        host.interrupt_current_processing()

    real = comfy.utils.ProgressBar.update_absolute
    comfy.utils.ProgressBar.update_absolute = press_cancel
    try:
        train(tokens_of=random_adapter(), steps=30, seed=8)
        raise AssertionError("it was not interrupted")
    except host.InterruptProcessingException:
        pass
    finally:
        comfy.utils.ProgressBar.update_absolute = real
    assert same(base()[0], before) and base()[0].model.current_patcher is None
    assert not list(STATES.glob("stage-*.state")), "no step was taken"


def check_a_non_finite_loss_names_its_step():
    training, loop = room("training.adapter_loop"), room("training.loop")

    def diverging(phase, module, loss, **more):
        return loop.train(
            phase, module, lambda step, draw: loss(step, draw) * (float("nan") if step == 3 else 1), **more
        )

    training.train = diverging
    try:
        with refused(
            "Train STAGE Adapter: stage training: the loss is nan at step 3; ", "lower learning rate", "is kept"
        ):
            train(steps=6, seed=12)
    finally:
        training.train = loop.train
    next(STATES.glob("stage-*.state")).unlink()
    assert base()[0].model.current_patcher is None


def check_too_little_memory_is_reported_before_the_first_step_and_later():
    host, training = comfy.model_management, room("training.adapter")
    real, trained = host.get_free_memory, training.train_stage

    def full(*_, **__):
        raise host.OOM_EXCEPTION("CUDA out of memory")

    host.get_free_memory = lambda *_, **__: 1000
    try:
        with refused(
            "Train STAGE Adapter: memory: a step of 2 keeps about", "lower batch or resolution, switch checkpointing"
        ):
            train(seed=13, checkpointing="off")
    finally:
        host.get_free_memory = real
    training.train_stage = full
    try:
        with refused("Train STAGE Adapter: ", "too little memory", "batch of 2 at 64 px", "lower batch or resolution"):
            train(seed=7)
    finally:
        training.train_stage = trained
    assert base()[0].model.current_patcher is None
