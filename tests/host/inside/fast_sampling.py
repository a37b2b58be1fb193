"""FARM in both forms of the sampler, and anomaly tokens."""

from __future__ import annotations

from functools import partial

import comfy.model_management
import torch

from .fast_scenes import ADAPTERS, applied, random_adapter, with_tokens
from .scenes import FORMS, SEED, Conditioning, apart, base, condition, eight, engine, plain_latent, refused, shown
from .start import call, room


def check_strength_0_and_no_farm_give_the_same_bytes():
    latent, _ = plain_latent()
    for form in FORMS:
        plain = form(base()[0], condition(), latent)
        assert torch.equal(plain, form(applied(base()[0], random_adapter(), strength=0.0), condition(), latent))
        both = applied(applied(base()[0], random_adapter()), random_adapter(), strength=0.0)
        assert torch.equal(plain, form(both, condition(), latent))
        assert torch.equal(plain, form(base()[0], condition(), latent)), "Apply FARM changed the model itself"
        # FARM is off at every t.
        late = form(applied(base()[0], random_adapter(), until=999.0), condition(), latent, denoise=0.8)
        assert torch.equal(late, form(base()[0], condition(), latent, denoise=0.8))
        half, whole = (form(applied(base()[0], random_adapter(), strength=s), condition(), latent) for s in (0.5, 1.0))
        assert apart(half, whole) > 0.01 and apart(half, plain) > 0.01


def check_cores_samplers_are_not_changed_by_farm():
    import nodes

    latent, _ = plain_latent()
    positive, negative = condition()
    common = {
        "seed": SEED,
        "steps": 3,
        "cfg": 2.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": positive,
        "negative": negative,
        "latent_image": latent,
        "denoise": 1.0,
    }
    made = [
        call(nodes.KSampler, model=model, **common)[0]["samples"]
        for model in (base()[0], applied(base()[0], random_adapter()))
    ]
    assert torch.equal(*made)


def check_the_preset_paper_renoises():
    latent, _ = plain_latent()
    model = applied(base()[0], random_adapter(), until=2.0)
    made = FORMS[0](model, condition(), latent, preset="paper", steps=6)
    plain = FORMS[0](base()[0], condition(), latent, preset="paper", steps=6)
    assert torch.isfinite(made).all() and apart(made, plain) > 0
    with refused("KSampler (AIAS): ", "renoise", "0 or 1"):
        FORMS[0](applied(base()[0], random_adapter(), strength=0.5), condition(), latent, preset="paper", steps=6)


def check_the_sampler_node_chooses_how_farm_enters():
    model, (latent, _) = applied(base()[0], random_adapter()), plain_latent()
    paper, blended = (FORMS[1](model, condition(), latent, preset=name, steps=4) for name in ("paper", "recommended"))
    assert torch.equal(paper, FORMS[0](model, condition(), latent, preset="paper", steps=4))
    assert apart(paper, blended) > 0.01
    node, widgets = "AIASSampler", {"order": 1, "eta": 1.0, "variance": 0.0, "pure_start": False, "correct": False}
    chosen = [
        call(node, **widgets, **more)[0].options["foreground_mode"] for more in ({}, {"foreground_mode": "renoise"})
    ]
    assert chosen == ["x0_blend", "renoise"], "a prompt from before the widget runs as it did"


def check_the_bundled_adapter_fits_the_bundled_base_and_is_named():
    (adapter,) = call("LoadFASTAdapter", adapter_name="surfaces (bundled)")
    adapters, pairs, latent = room("nodes.adapters"), room("nodes.pairs"), plain_latent()[0]
    assert adapters.adapter_names()[0] == "surfaces (bundled)"
    made = FORMS[0](applied(base()[0], adapter), with_tokens(condition(), adapter), latent, steps=3)
    assert torch.isfinite(made).all()
    assert set(adapter.modules.tokens.types) == {kind for kind in base()[0].model.anomaly_labels if kind[1] != "good"}
    path = partial(adapters.adapter_path, method="fast")
    digest = room("modules.base_file").file_digest(path("surfaces (bundled)"))
    assert pairs._digest("surfaces (bundled)", path) == digest and len(digest) == 16
    assert pairs._digest("gone.safetensors", path) == "gone.safetensors"


def check_the_host_loads_and_offloads_farm():
    model = applied(base()[0], random_adapter())
    (module,) = model.get_nested_additional_models()
    latent, _ = plain_latent()
    comfy.model_management.unload_all_models()
    FORMS[0](model, condition(), latent, steps=2)
    assert module.model in [loaded.model.model for loaded in comfy.model_management.current_loaded_models]
    clone = model.clone()
    assert torch.equal(*(FORMS[0](one, condition(), latent) for one in (model, clone)))


def check_the_graph_equals_the_engine_with_an_adapter():
    """Eight images of several types, cropped: the command line's engine and the graph give the same pixels."""
    from .scenes import pairs

    batch, adapter, (model, _, resolution) = eight(), random_adapter(), base()
    objects, types = "\n".join(batch.objects), "\n".join(batch.types)
    *_, crop = call("CropToMask", image=batch.images, mask=batch.masks, resolution=resolution, context=1.0)

    def form(_, conditioning, latent, **options):
        patched = applied(model, adapter, objects, types, crop=crop)
        return FORMS[0](patched, with_tokens(conditioning, adapter, objects, types, crop), latent, **options)

    graph = pairs(batch.images, batch.masks, form, objects=objects, types=types, steps=6)
    settings = room("synthesis.pair").Settings(steps=6)
    line = shown(engine(settings, adapter.modules))
    assert apart(graph.images * 255, line * 255) < 1.01
    assert apart(line, shown(engine(settings))) > 0.05


def check_an_adapter_of_the_command_line_loads():
    room("modules.adapter_file").save_adapter(ADAPTERS / "line.safetensors", random_adapter().adapter)
    (read,) = call("LoadFASTAdapter", adapter_name="line.safetensors")
    latent, _ = plain_latent()
    FORMS[0](applied(base()[0], read), with_tokens(condition(), read), latent, steps=2)


def check_tokens_follow_lines_and_crops():
    batch, (_, _, resolution), adapter = eight(), base(), random_adapter()
    *_, crop = call("CropToMask", image=batch.images, mask=batch.masks, resolution=resolution, context=1.0)
    objects, types = "\n".join(batch.objects), "\n".join(batch.types)
    rows = adapter.modules.tokens
    made = with_tokens(condition(None, objects, types, crop), adapter, objects, types, crop).positive[0][0]
    assert len(made) == len(crop.parts) > 8
    for part, own in zip(crop.parts, made, strict=True):
        row = rows.row(batch.objects[part.item], batch.types[part.item])
        assert torch.equal(own[-3:], rows.rows[row].to(own))
    mask = torch.ones(1, 4)
    text = Conditioning([[torch.zeros(1, 4, 128), {"attention_mask": mask, "pooled_output": mask, "guidance": 3}]], [])
    ((tokens, extras),) = with_tokens(text, adapter, "brushed_metal", "pit\nscratch").positive
    assert tokens.shape == (2, 7, 128) and extras["attention_mask"].shape == (1, 7)
    assert extras["pooled_output"] is mask and extras["guidance"] == 3
    assert text.positive[0][1]["attention_mask"].shape == (1, 4)
