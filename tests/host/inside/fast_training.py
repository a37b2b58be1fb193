"""FAST's training inside the host: to a file and back, cancelled, and short of memory."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
import safetensors
import torch

from .fast_scenes import ADAPTERS, FakeVAE, applied, bits, same, sd15, sd15_wide, sdxl, train, with_tokens
from .other_models import flow, sd15_latent
from .scenes import FORMS, Conditioning, apart, base, condition, plain_latent, refused
from .start import TEMPORARY, call, room


def check_train_save_load_apply_and_sample_in_both_forms():
    before = bits(base()[0])
    adapter, record, curve = train(seed=3)
    assert same(base()[0], before) and "2 steps on" in record and curve.ndim == 4
    assert not list((TEMPORARY / "anomaly_synthesis").glob("*.state"))
    (file,) = call("SaveFASTAdapter", adapter=adapter, name="sub/mine")
    assert file == "sub/mine.safetensors" and (ADAPTERS / file).is_file()
    assert call("SaveFASTAdapter", adapter=adapter, name="sub/mine.safetensors") == ("sub/mine_00002.safetensors",)
    (again,) = call("LoadFASTAdapter", adapter_name=file)
    for one, other in zip(*(a.modules.state_dict().values() for a in (adapter, again)), strict=True):
        assert torch.equal(one, other)
    latent, inside = plain_latent()
    made = {}
    for kept, loaded in (("trained", adapter), ("loaded", again)):
        model, conditioning = applied(base()[0], loaded), with_tokens(condition(), loaded)
        made[kept] = [form(model, conditioning, latent) for form in FORMS]
        assert torch.equal(*made[kept]) and torch.isfinite(made[kept][0]).all()
    assert torch.equal(made["trained"][0], made["loaded"][0])
    plain = FORMS[0](base()[0], condition(), latent)
    assert (made["loaded"][0] - plain)[inside].abs().mean() > 0.01
    assert apart(made["loaded"][0][~inside], latent["samples"][~inside]) < 1e-5


def check_other_models_train_and_sample():
    for model, width, more in ((sd15(), 768, {}), (sdxl(), 2048, {"pooled_output": torch.randn(1, 1280)})):
        text = [[torch.randn(1, 12, width), more]]
        adapter, _, _ = train(model, FakeVAE(), conditioning=text, batch=1)
        assert adapter.adapter.base.token_channels == width and adapter.adapter.base.prediction == "eps"
        conditioning = with_tokens(Conditioning(text, text), adapter)
        assert conditioning.positive[0][0].shape == (1, 15, width)
        latent, inside = sd15_latent()
        made = [form(applied(model, adapter), conditioning, latent, steps=3) for form in FORMS]
        assert torch.equal(*made) and torch.isfinite(made[0]).all()
        assert apart(made[0][~inside], latent["samples"][~inside]) < 1e-4
    adapter, _, _ = train(flow())
    assert adapter.adapter.base.prediction == "flow"
    latent, inside = plain_latent()
    made = [form(applied(flow(), adapter), condition(), latent, steps=4) for form in FORMS]
    assert torch.equal(*made) and apart(made[0][~inside], latent["samples"][~inside]) < 1e-5


def check_a_model_of_sd15s_shape_trains_to_a_file_and_samples():
    """More than 25 M parameters, by text, from Split Defect Dataset to a picture; the model stays unchanged."""
    model, text = sd15_wide(), [[torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(1)), {}]]
    count = sum(weight.numel() for weight in model.model.diffusion_model.parameters())
    before = bits(model)
    adapter, record, curve = train(model, FakeVAE(), conditioning=text, steps=4, look_every=2, checkpointing="on")
    assert count > 25e6 and same(model, before) and "4 steps" in record and "with checkpointing" in record
    assert curve.shape[0] == 1 and curve.shape[3] == 3 and curve.std() > 0
    assert [step for step, _ in adapter.adapter.training["losses"]] == [2, 4]
    (file,) = call("SaveFASTAdapter", adapter=adapter, name="wide")
    (again,) = call("LoadFASTAdapter", adapter_name=file)
    conditioning, (latent, inside) = with_tokens(Conditioning(text, text), again), sd15_latent()
    made = [form(applied(model, again), conditioning, latent, steps=4) for form in FORMS]
    assert torch.equal(*made) and torch.isfinite(made[0]).all()
    assert apart(made[0][~inside], latent["samples"][~inside]) < 1e-4
    return {"million parameters": round(count / 1e6, 1)}


def check_a_preview_of_held_out_defects_comes_at_every_look():
    shown, real = [], comfy.utils.ProgressBar.update_absolute

    def update(self, value, total=None, preview=None):
        if preview is not None:
            shown.append((value, preview))
        return real(self, value, total, preview)

    comfy.utils.ProgressBar.update_absolute = update
    try:
        for model, vae, text in (
            (None, None, None),
            (sd15(), FakeVAE(), [[torch.zeros(1, 9, 768), {}]]),
            (flow(), None, None),
        ):
            shown.clear()
            train(model, vae, conditioning=text, steps=5, look_every=2, seed=11)
            assert [step for step, _ in shown] == [2, 4, 5]
            for _, (kind, sheet, side) in shown:
                assert kind == "JPEG" and side == max(sheet.size) and sheet.height > 2 * 128
                assert sheet.convert("L").getextrema()[0] < 255
    finally:
        comfy.utils.ProgressBar.update_absolute = real


def check_a_non_finite_loss_names_its_step_and_keeps_the_steps_before():
    training, loop, taken = room("training.adapter_loop"), room("training.loop"), []

    def diverging(phase, module, loss, **more):
        def broken(step, generator):
            taken.append(step)
            return loss(step, generator) * (float("nan") if step == 3 else 1)

        return loop.train(phase, module, broken, **more | {"save_every": 0})

    training.train = diverging
    try:
        with refused(
            "Train FAST Adapter: fast training: the loss is nan at step 3; ", "lower learning rate", "is kept"
        ):
            train(steps=6, seed=12)
    finally:
        training.train = loop.train
    (state,) = (TEMPORARY / "anomaly_synthesis").glob("fast-*.state")
    with safetensors.safe_open(state, "pt") as file:
        assert file.metadata()["step"] == "3"
        assert all(file.get_tensor(name).isfinite().all() for name in file.keys() if name.startswith("weight."))  # noqa: SIM118
    state.unlink()
    assert base()[0].model.current_patcher is None


def check_far_too_little_memory_is_reported_before_the_first_step():
    host = comfy.model_management
    real = host.get_free_memory
    host.get_free_memory = lambda *_, **__: 1000
    try:
        with refused(
            "Train FAST Adapter: memory: a step of 2 keeps about", "lower batch or resolution, switch checkpointing"
        ):
            train(seed=13, checkpointing="off")
    finally:
        host.get_free_memory = real
    assert base()[0].model.current_patcher is None


def check_the_same_training_gives_the_same_weights():
    one, other = (train(seed=5)[0].modules.state_dict().values() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def check_a_cancelled_training_resumes_where_it_stopped():
    """Cancelled at the fifth step, as the host does it: its flag is read before every step."""
    training, loop, host = room("training.adapter_loop"), room("training.loop"), comfy.model_management
    asking, taken = {n: p.requires_grad for n, p in base()[0].model.named_parameters()}, []

    def cancelled(*args, check_interrupt, **more):
        def press_cancel():
            taken.append(1)
            if len(taken) == 5:
                host.interrupt_current_processing()
            check_interrupt()

        return loop.train(*args, check_interrupt=press_cancel, save_every=0, **more)

    training.train = cancelled
    try:
        train(steps=9, seed=6)
        raise AssertionError("it was not interrupted")
    except host.InterruptProcessingException:
        pass
    (state,) = (TEMPORARY / "anomaly_synthesis").glob("fast-*.state")
    with safetensors.safe_open(state, "pt") as file:
        assert file.metadata()["step"] == "4"
    assert asking == {n: p.requires_grad for n, p in base()[0].model.named_parameters()}
    try:
        resumed, _, _ = train(steps=9, seed=6)
    finally:
        training.train = loop.train
    assert len(taken) == 5 + 5 and not state.exists()
    whole, _, _ = train(steps=9, seed=6)
    for one, other in zip(*(a.modules.state_dict().values() for a in (resumed, whole)), strict=True):
        assert torch.equal(one, other)


def check_too_little_memory_is_reported():
    training = room("training.adapter")
    real = training.train_fast

    def full(*_, **__):
        raise comfy.model_management.OOM_EXCEPTION("CUDA out of memory")

    training.train_fast = full
    try:
        with refused("Train FAST Adapter: ", "too little memory", "batch of 2 at 64 px", "lower batch or resolution"):
            train(seed=7)
    finally:
        training.train_fast = real
    assert base()[0].model.current_patcher is None
