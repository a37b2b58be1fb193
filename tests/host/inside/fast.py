"""FAST inside the host: a training through models of every kind, its file, and FARM in both forms of the sampler."""

from __future__ import annotations

import copy
import os
from functools import cache

import comfy.model_management
import comfy.supported_models
import folder_paths
import safetensors.torch
import torch
from torch import Tensor

from .other_models import SD15_UNET, flow, random_tokens, sd15_latent
from .scenes import FORMS, SEED, Conditioning, apart, base, eight, plain_latent, refused, told
from .start import INPUT, SCRATCH, TEMPORARY, call, room

ADAPTERS = SCRATCH / "adapters"
ADAPTERS.mkdir(exist_ok=True)
folder_paths.folder_names_and_paths["anomaly_adapters"] = ([str(ADAPTERS)], {".safetensors"})
KIND = ("brushed_metal", "scratch")


class FakeVAE:
    """Reduces by 8 to 4 channels, as SD's does."""

    def spacial_compression_encode(self) -> int:
        return 8

    def encode(self, image: Tensor) -> Tensor:
        grey = torch.nn.functional.avg_pool2d(image.movedim(-1, 1), 8).mean(1, keepdim=True)
        return 10 * (grey - 0.5).expand(-1, 4, -1, -1)


@cache
def _dataset():
    """Brushed metal: three types, six images of each, half of which train."""
    split, samples = room("datasets.split"), room("datasets.procedural").write_surfaces(
        INPUT / "metal", materials=("brushed_metal",), normals=1, defects=6, size=64, seed=7
    )
    samples = room("datasets.mvtec").read_mvtec(samples)
    split.save_split(split.make_split(samples, {s.name: s.name for s in samples}, share=0.5), INPUT / "metal.json")
    return call("SplitDataset", folder="metal", split="metal.json", share=0.5, types="", seed=0)[0]


def _train(model=None, vae=None, **changed) -> tuple:
    widgets = {"steps": 2, "batch": 2, "learning_rate": 1e-3, "tokens": 3, "resolution": 64, "patience": 0, "seed": 0,
               "conditioning": None} | changed  # fmt: skip
    return call("TrainFASTAdapter", model=model or base()[0], vae=vae or base()[1], dataset=_dataset(), **widgets)


@cache
def _random():
    """An adapter for every type of the bundled base, with the weights that a training begins with."""
    fast, file = room("modules.fast"), room("modules.base_file")
    model, path = base()[0], room("nodes.loaders").base_path("surfaces (bundled)")
    fit = room("modules.adapter_file").Fit("CompactLDM", file.file_digest(path), 4, 128, "v")
    torch.manual_seed(0)
    modules = fast.FastModules([label for label in model.model.anomaly_labels if label[1] != "good"], 4, 128, count=3)
    adapter = fast.to_adapter(modules, fit, "split", {})
    return room("nodes.fast_adapter").fast_adapter("Check", "random", adapter)


def _applied(model, adapter, object=KIND[0], type=KIND[1], strength=1.0, until=100.0, crop=None):
    return call("ApplyFARM", model=model, adapter=adapter, object=object, type=type, strength=strength, until=until,
                crop=crop)[0]  # fmt: skip


def _with_tokens(conditioning: Conditioning, adapter, object=KIND[0], type=KIND[1], crop=None) -> Conditioning:
    (positive,) = call("AnomalyTokens", conditioning=conditioning.positive, adapter=adapter, object=object, type=type,
                       crop=crop)  # fmt: skip
    return Conditioning(positive, conditioning.negative)


def _bits(model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.model.diffusion_model.state_dict().items()}


def _same(model, before: dict[str, Tensor]) -> bool:
    after = model.model.diffusion_model.state_dict()
    return after.keys() == before.keys() and all(torch.equal(after[name], value) for name, value in before.items())


@cache
def sd15():
    """As `other_models.sd15`, with norms that let something through."""
    return _random_model(comfy.supported_models.SD15(copy.deepcopy(SD15_UNET)))


@cache
def sdxl():
    """A MODEL of SDXL's shape, random and small: its pooled text comes by another way than its tokens."""
    unet = copy.deepcopy(SD15_UNET) | {"context_dim": 2048, "adm_in_channels": 2816, "num_classes": "sequential",
                                       "use_linear_in_transformer": True}  # fmt: skip
    return _random_model(comfy.supported_models.SDXL(unet))


def _random_model(config):
    model = config.get_model({}, "")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.diffusion_model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(name.endswith("weight"))
            else:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
    return comfy.model_patcher.ModelPatcher(
        model, load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )  # fmt: skip


@cache
def half(dtype: torch.dtype):
    """SD 1.5's shape with the same weights in half precision."""
    config = comfy.supported_models.SD15(copy.deepcopy(SD15_UNET) | {"dtype": dtype})
    config.set_inference_dtype(dtype, None)
    made = _random_model(config)
    made.model.diffusion_model.load_state_dict(sd15().model.diffusion_model.state_dict())
    return made


# The denoiser as training sees it


def _frozen_gradients(model, tokens: Tensor, extras: dict, size=(8, 8), level: int = 400):
    """(noise found, its gradient to the state, to the conditioning) of a loss through the frozen model."""
    glue, channels = room("nodes.frozen_model"), 4
    with torch.inference_mode(False), torch.enable_grad():
        tokens = tokens.clone()
        with glue.frozen_model(model, tokens, extras, (2, channels, *size)) as frozen:
            generator = torch.Generator().manual_seed(3)
            x = torch.randn(2, channels, *size, generator=generator).requires_grad_()
            context = frozen.context(torch.tensor([0, 1])).clone().requires_grad_()
            t, mask = torch.tensor([level, level + 300]), torch.zeros(2, 1, *size)
            mask[..., 2:5, 2:5] = 1
            found = frozen.noise(x, t, context, mask, torch.zeros_like(x), torch.tensor([0, 1]))
            (found**2).mean().backward()
            return found.detach(), x.grad, context.grad


def _reached(model, tokens: Tensor, extras: dict | None = None, **options) -> tuple:
    before, asking = _bits(model), {n for n, p in model.model.named_parameters() if p.requires_grad}
    training = model.model.diffusion_model.training
    made = _frozen_gradients(model, tokens, extras or {}, **options)
    assert all(torch.isfinite(part).all() and part.flatten(1).abs().sum(1).min() > 0 for part in made)
    assert _same(model, before), "a frozen weight changed"
    assert asking == {n for n, p in model.model.named_parameters() if p.requires_grad}
    assert all(parameter.grad is None for parameter in model.model.parameters())
    assert model.model.current_patcher is None and model.model.diffusion_model.training == training
    return made


def _two_tokens(width: int) -> Tensor:
    return torch.randn(2, 9, width, generator=torch.Generator().manual_seed(4))


def check_gradients_reach_the_state_and_the_tokens_through_models_of_every_kind():
    _reached(sd15(), _two_tokens(768))
    _reached(sdxl(), _two_tokens(2048), {"pooled_output": torch.randn(2, 1280)})
    _reached(flow(), _two_tokens(128))
    _reached(base()[0], _two_tokens(128))


def check_a_type_s_pooled_text_is_its_own():
    """Two types with equal tokens and different pooled text: the model's answers differ."""
    tokens = _two_tokens(2048)[:1].expand(2, -1, -1)
    one, same = torch.randn(1, 1280), torch.ones(2, 1)
    alike, _, _ = _reached(sdxl(), tokens, {"pooled_output": same * one})
    other, _, _ = _reached(sdxl(), tokens, {"pooled_output": torch.cat([one, -one])})
    assert apart(alike[0], other[0]) < 1e-4 and apart(alike[1], other[1]) > 1e-2


def check_half_precision_gives_the_gradients_of_full_precision():
    exact, figures = _reached(sd15(), _two_tokens(768)), {}
    for dtype in (torch.float16, torch.bfloat16):
        rounded = _reached(half(dtype), _two_tokens(768))
        alike = [torch.cosine_similarity(a.flatten(), b.flatten(), 0).item()
                 for a, b in zip(exact, rounded, strict=True)]  # fmt: skip
        figures[str(dtype)] = [round(value, 5) for value in alike]
        assert min(alike) > 0.99 and all(part.dtype == torch.float32 for part in rounded)
    return figures


def check_the_compact_base_is_the_command_line_s():
    """The same noise, levels and conditioning as `training.frozen_compact`, told mask and background or not."""
    loaded, _ = room("modules.base_file").load_base(room("nodes.loaders").base_path("surfaces (bundled)"))
    types = [KIND, ("cast_grain", "crack")]
    generator = torch.Generator().manual_seed(8)
    x, background = (torch.randn(2, 4, 16, 16, generator=generator) for _ in range(2))
    mask, t, rows = torch.zeros(2, 1, 16, 16), torch.tensor([30, 900]), torch.arange(2)
    mask[..., 4:9, 4:9] = 1
    glue, largest = room("nodes.frozen_model"), 0.0
    for aware in (True, False):
        model, _, _ = call("LoadAnomalyLDM", base_name="surfaces (bundled)", aware=aware)
        ours = room("training.frozen_compact").FrozenCompact(loaded, types, aware)
        with torch.inference_mode(False), glue.frozen_model(
            model, *glue.base_tokens(model, types, None), (2, 4, 16, 16)
        ) as frozen:
            for mine, theirs in zip(frozen.level(t), ours.level(t), strict=True):
                assert apart(mine, theirs) < 1e-6
            context = frozen.context(rows)
            assert torch.equal(context, ours.context(rows))
            made = [one.noise(x, t, context, mask, background, rows).detach() for one in (frozen, ours)]
        largest = max(largest, apart(*made))
    assert largest < 1e-3
    return {"largest difference": largest}


def check_levels_are_those_of_the_model():
    """a^2 + s^2 = 1, falling signal, and the sampler's t is the one that a level was trained at."""
    levels, glue = room("nodes.noise_levels"), room("nodes.frozen_model")
    t = torch.tensor([0, 1, 500, 998, 999])
    for model, width in ((base()[0], 128), (flow(), 128), (sd15(), 768)):
        with torch.inference_mode(False), glue.frozen_model(model, _two_tokens(width), {}, (1, 4, 8, 8)) as frozen:
            a, s = (part.flatten() for part in frozen.level(t))
        assert apart(a**2 + s**2, torch.ones(5)) < 1e-6 and (a.diff() < 0).all() and (s.diff() > 0).all()
        timestep = levels.timestep_of(frozen.table)
        assert [round(timestep(float(sigma))) for sigma in levels.sigma_of(frozen.table, t)] == t.tolist()


# From a training to a file and back


def check_train_save_load_apply_and_sample_in_both_forms():
    before = _bits(base()[0])
    adapter, record, curve = _train(seed=3)
    assert _same(base()[0], before) and "2 steps on" in record and curve.ndim == 4
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
        model, conditioning = _applied(base()[0], loaded), _with_tokens(told(), loaded)
        made[kept] = [form(model, conditioning, latent) for form in FORMS]
        assert torch.equal(*made[kept]) and torch.isfinite(made[kept][0]).all()
    assert torch.equal(made["trained"][0], made["loaded"][0])
    plain = FORMS[0](base()[0], told(), latent)
    assert (made["loaded"][0] - plain)[inside].abs().mean() > 0.01
    assert apart(made["loaded"][0][~inside], latent["samples"][~inside]) < 1e-5


def check_other_models_train_and_sample():
    for model, width, more in ((sd15(), 768, {}), (sdxl(), 2048, {"pooled_output": torch.randn(1, 1280)})):
        text = [[torch.randn(1, 12, width), more]]
        adapter, _, _ = _train(model, FakeVAE(), conditioning=text, batch=1)
        assert adapter.adapter.base.token_channels == width and adapter.adapter.base.prediction == "eps"
        conditioning = _with_tokens(Conditioning(text, text), adapter)
        assert conditioning.positive[0][0].shape == (1, 15, width)
        latent, inside = sd15_latent()
        made = [form(_applied(model, adapter), conditioning, latent, steps=3) for form in FORMS]
        assert torch.equal(*made) and torch.isfinite(made[0]).all()
        assert apart(made[0][~inside], latent["samples"][~inside]) < 1e-4
    adapter, _, _ = _train(flow())
    assert adapter.adapter.base.prediction == "flow"
    latent, inside = plain_latent()
    made = [form(_applied(flow(), adapter), told(), latent, steps=4) for form in FORMS]
    assert torch.equal(*made) and apart(made[0][~inside], latent["samples"][~inside]) < 1e-5


def check_the_same_training_gives_the_same_weights():
    one, other = (_train(seed=5)[0].modules.state_dict().values() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def check_a_cancelled_training_goes_on_where_it_was():
    """Cancelled at the fifth step, as the host does it: its flag is read before every step."""
    fast, loop, host = room("training.fast"), room("training.loop"), comfy.model_management
    asking, taken = {n: p.requires_grad for n, p in base()[0].model.named_parameters()}, []

    def cancelled(*args, check_interrupt, **more):
        def press_cancel():
            taken.append(1)
            if len(taken) == 5:
                host.interrupt_current_processing()
            check_interrupt()

        return loop.train(*args, check_interrupt=press_cancel, save_every=0, **more)

    fast.train = cancelled
    try:
        _train(steps=9, seed=6)
        raise AssertionError("it was not interrupted")
    except host.InterruptProcessingException:
        pass
    (state,) = (TEMPORARY / "anomaly_synthesis").glob("fast-*.state")
    with safetensors.safe_open(state, "pt") as file:
        assert file.metadata()["step"] == "4"
    assert asking == {n: p.requires_grad for n, p in base()[0].model.named_parameters()}
    try:
        resumed, _, _ = _train(steps=9, seed=6)
    finally:
        fast.train = loop.train
    assert len(taken) == 5 + 5 and not state.exists()
    whole, _, _ = _train(steps=9, seed=6)
    for one, other in zip(*(a.modules.state_dict().values() for a in (resumed, whole)), strict=True):
        assert torch.equal(one, other)


def check_too_little_memory_is_told():
    training = room("training.fast")
    real = training.train_fast

    def full(*_, **__):
        raise comfy.model_management.OOM_EXCEPTION("CUDA out of memory")

    training.train_fast = full
    try:
        with refused("Train FAST Adapter: ", "too little memory", "batch of 2 at 64 px", "lower batch or resolution"):
            _train(seed=7)
    finally:
        training.train_fast = real
    assert base()[0].model.current_patcher is None


# FARM in the sampler


def check_strength_0_and_no_farm_give_the_same_bytes():
    latent, _ = plain_latent()
    for form in FORMS:
        plain = form(base()[0], told(), latent)
        assert torch.equal(plain, form(_applied(base()[0], _random(), strength=0.0), told(), latent))
        both = _applied(_applied(base()[0], _random()), _random(), strength=0.0)
        assert torch.equal(plain, form(both, told(), latent))
        assert torch.equal(plain, form(base()[0], told(), latent)), "Apply FARM changed the model itself"
        # At every t FARM rests.
        late = form(_applied(base()[0], _random(), until=999.0), told(), latent, denoise=0.8)
        assert torch.equal(late, form(base()[0], told(), latent, denoise=0.8))
        half, whole = (form(_applied(base()[0], _random(), strength=s), told(), latent) for s in (0.5, 1.0))
        assert apart(half, whole) > 0.01 and apart(half, plain) > 0.01


def check_core_s_samplers_do_as_before():
    import nodes

    latent, _ = plain_latent()
    positive, negative = told()
    common = {"seed": SEED, "steps": 3, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal",
              "positive": positive, "negative": negative, "latent_image": latent, "denoise": 1.0}  # fmt: skip
    made = [call(nodes.KSampler, model=model, **common)[0]["samples"]
            for model in (base()[0], _applied(base()[0], _random()))]  # fmt: skip
    assert torch.equal(*made)


def check_the_preset_paper_renoises():
    latent, _ = plain_latent()
    model = _applied(base()[0], _random(), until=2.0)
    made = FORMS[0](model, told(), latent, preset="paper", steps=6)
    assert torch.isfinite(made).all() and apart(made, FORMS[0](base()[0], told(), latent, preset="paper", steps=6)) > 0
    with refused("KSampler (AIAS): ", "renoise", "0 or 1"):
        FORMS[0](_applied(base()[0], _random(), strength=0.5), told(), latent, preset="paper", steps=6)


def check_the_host_loads_and_offloads_farm():
    model = _applied(base()[0], _random())
    (module,) = model.get_nested_additional_models()
    latent, _ = plain_latent()
    comfy.model_management.unload_all_models()
    FORMS[0](model, told(), latent, steps=2)
    assert module.model in [loaded.model.model for loaded in comfy.model_management.current_loaded_models]
    clone = model.clone()
    assert torch.equal(*(FORMS[0](one, told(), latent) for one in (model, clone)))


def check_the_graph_is_the_engine_s_with_an_adapter():
    """Eight images of several types, cropped: the command line's engine and the graph give the same pixels."""
    from .scenes import pairs

    batch, adapter, (model, _, resolution) = eight(), _random(), base()
    objects, types = "\n".join(batch.objects), "\n".join(batch.types)
    *_, crop = call("CropToMask", image=batch.images, mask=batch.masks, resolution=resolution, context=1.0)

    def form(_, conditioning, latent, **options):
        patched = _applied(model, adapter, objects, types, crop=crop)
        return FORMS[0](patched, _with_tokens(conditioning, adapter, objects, types, crop), latent, **options)

    graph = pairs(batch.images, batch.masks, form, objects=objects, types=types, steps=6)
    pair, images = room("synthesis.pair"), room("nodes.images")
    loaded, _ = room("modules.base_file").load_base(room("nodes.loaders").base_path("surfaces (bundled)"))
    jobs = [
        pair.Job(images.to_picture(image), mask > 0.5, batch.objects[i], batch.types[i], SEED + i)
        for i, (image, mask) in enumerate(zip(batch.images, batch.masks, strict=True))
    ]
    engine = pair.make_pairs(loaded, jobs, pair.Settings(steps=6), adapter.modules)
    shown = torch.stack([images.to_image(p.picture) for p in engine])
    assert apart(graph.images * 255, shown * 255) < 1.01
    plain = pair.make_pairs(loaded, jobs, pair.Settings(steps=6))
    assert apart(shown, torch.stack([images.to_image(p.picture) for p in plain])) > 0.05


def check_an_adapter_of_the_command_line_loads():
    room("modules.adapter_file").save_adapter(ADAPTERS / "line.safetensors", _random().adapter)
    (read,) = call("LoadFASTAdapter", adapter_name="line.safetensors")
    latent, _ = plain_latent()
    FORMS[0](_applied(base()[0], read), _with_tokens(told(), read), latent, steps=2)


# Tokens


def check_tokens_follow_lines_and_crops():
    batch, (_, _, resolution), adapter = eight(), base(), _random()
    *_, crop = call("CropToMask", image=batch.images, mask=batch.masks, resolution=resolution, context=1.0)
    objects, types = "\n".join(batch.objects), "\n".join(batch.types)
    rows = adapter.modules.tokens
    made = _with_tokens(told(None, objects, types, crop), adapter, objects, types, crop).positive[0][0]
    assert len(made) == len(crop.parts) > 8
    for part, own in zip(crop.parts, made, strict=True):
        row = rows.row(batch.objects[part.item], batch.types[part.item])
        assert torch.equal(own[-3:], rows.rows[row].to(own))
    mask = torch.ones(1, 4)
    text = Conditioning([[torch.zeros(1, 4, 128), {"attention_mask": mask, "pooled_output": mask, "guidance": 3}]], [])
    ((tokens, extras),) = _with_tokens(text, adapter, "brushed_metal", "pit\nscratch").positive
    assert tokens.shape == (2, 7, 128) and extras["attention_mask"].shape == (1, 7)
    assert extras["pooled_output"] is mask and extras["guidance"] == 3
    assert text.positive[0][1]["attention_mask"].shape == (1, 4)


# What is refused


def check_what_does_not_fit_is_refused():
    adapter, latent = _random(), plain_latent()[0]
    with refused("Apply FARM: ", "another model", "kind CompactLDM", "SD15", "Train FAST Adapter"):
        _applied(sd15(), adapter)
    with refused("Apply FARM: ", "prediction v", "flow"):
        _applied(flow(), adapter)
    for node, use in (("Apply FARM", lambda *kind: _applied(base()[0], adapter, *kind)),
                      ("Anomaly Tokens", lambda *kind: _with_tokens(told(), adapter, *kind))):  # fmt: skip
        with refused(f"{node}: ", "brushed_metal/rust is not in the adapter; it has brushed_metal/pit"):
            use("brushed_metal", "rust")
        with refused(f"{node}: ", "type has 2 lines for 3 images"):
            use("a\nb\nc", "pit\nscratch")
    with refused("Anomaly Tokens: ", "768 channels", "128", "another model"):
        _with_tokens(random_tokens(), adapter)
    with refused("Anomaly Tokens: ", "for 3 items", "for 2"):
        _with_tokens(Conditioning([[torch.zeros(3, 4, 128), {}]], []), adapter, "brushed_metal", "pit\nscratch")
    with refused("KSampler (AIAS): ", "types for 2 items, and 1 are sampled"):
        FORMS[0](_applied(base()[0], adapter, "brushed_metal", "pit\nscratch"), told(), latent)
    with refused("KSampler (AIAS): ", "fills a mask", "Defect Latent"):
        FORMS[0](_applied(base()[0], adapter), told(), {"samples": torch.zeros(1, 4, 16, 16)})


def check_an_adapter_of_another_base_of_the_same_kind_is_refused():
    other = base()[0].clone()
    other.model = copy.copy(other.model)
    other.model.anomaly_digest = "0123456789abcdef"
    with refused("Apply FARM: ", "digest", "0123456789abcdef"):
        _applied(other, _random())


class _Opened:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (str(ADAPTERS / "opened"),)


def check_files_that_are_no_adapters_are_refused():
    node = "Load FAST Adapter: "
    with refused(node, "no adapter 'gone.safetensors' in anomaly_adapters", str(ADAPTERS)):
        call("LoadFASTAdapter", adapter_name="gone.safetensors")
    torch.save(_Opened(), ADAPTERS / "pickled.safetensors")
    with refused(node, "pickled.safetensors", "no readable safetensors file"):
        call("LoadFASTAdapter", adapter_name="pickled.safetensors")
    assert not (ADAPTERS / "opened").exists()
    (ADAPTERS / "lora.safetensors").write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}))
    with refused(node, "lora.safetensors", "not an adapter of this pack", "ComfyUI's own loaders"):
        call("LoadFASTAdapter", adapter_name="lora.safetensors")


def check_names_outside_the_folder_and_folders_that_cannot_be_written_are_refused():
    for name in ("../out", "/tmp/out", "", "a/../../out"):
        with refused("Save FAST Adapter: ", "is not below"):
            call("SaveFASTAdapter", adapter=_random(), name=name)
    (ADAPTERS / "file").write_text("")
    with refused("Save FAST Adapter: ", "cannot write", "give ComfyUI the right to write there"):
        call("SaveFASTAdapter", adapter=_random(), name="file/mine")


def check_bad_trainings_are_refused_before_they_begin():
    node = "Train FAST Adapter: "
    with refused(node, "this model brings no anomaly tokens", "connect conditioning"):
        _train(sd15(), FakeVAE())
    with refused(node, "2 items", "brushed_metal / pit"):
        _train(sd15(), FakeVAE(), conditioning=[[torch.zeros(2, 9, 768), {}]])
    with refused(node, "tokens of 1024 channels, and the model reads 768"):
        _train(sd15(), FakeVAE(), conditioning=[[torch.zeros(1, 9, 1024), {}]])
    with refused(node, "resolution 66", "multiple of 4", "64"):
        _train(resolution=66)
    with refused(node, "4 channels, the model 16"):
        other = base()[0].clone()
        other.add_object_patch("latent_format", type("Other", (), {"latent_channels": 16})())
        _train(other)
    data = room("nodes.split_dataset").Dataset
    full = _dataset()
    with refused(node, "show no defect"):
        normal = data(tuple(s for s in full.train if not s.mask), full.held_back, full.split, full.file)
        call("TrainFASTAdapter", model=base()[0], vae=base()[1], dataset=normal, steps=2, batch=2, learning_rate=1e-3,
             tokens=3, resolution=64, patience=0, seed=0, conditioning=None)  # fmt: skip


def check_empty_masks_are_told():
    empty, frozen = torch.zeros(1, 1, 16, 16), room("training.frozen")
    training = room("training.defects")
    real = training.encoded_defects
    training.encoded_defects = lambda *_: frozen.Latents(torch.zeros(1, 4, 16, 16), empty, torch.zeros(1).long())
    try:
        with refused("Train FAST Adapter: ", "1 of 1 masks are empty"):
            _train()
    finally:
        training.encoded_defects = real
