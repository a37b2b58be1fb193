"""Graded diffusion in both forms of its sampler, MGA heads on the host's models, and the mask schedule."""

from __future__ import annotations

import logging

import comfy.model_management
import comfy.utils
import torch

import nodes

from .fast_scenes import KIND, applied, random_adapter, sd15, with_tokens
from .other_models import flow, random_tokens, sd15_latent
from .scenes import FORMS, SEED, Conditioning, apart, base, condition, eight, engine, pairs, plain_latent, shown
from .stage_scenes import GRADED_FORMS, STEPS, Schedule, graded, graded_advanced, random_stage, stage_adapter, with_mga
from .start import TEMPORARY, call, room


def check_both_forms_give_equal_latents_and_keep_the_background():
    (latent, inside), largest = plain_latent(), 0.0
    for preset in room("samplers.presets").PRESETS:
        for stage in ("mga", "mga-aif-gd", "stage", "stage-paper"):
            made = [form(with_mga(), condition(), latent, preset=preset, stage=stage) for form in GRADED_FORMS]
            assert torch.equal(*made), f"{preset}, {stage}: {apart(*made)} apart"
            assert (made[0] - latent["samples"])[inside].abs().mean() > 0.1
            largest = max(largest, apart(made[0][~inside], latent["samples"][~inside]))
    assert largest < 1e-5
    return {"largest difference outside": largest}


def check_partial_denoise_skips_windows():
    latent, inside = plain_latent()
    changes = []
    for denoise in (1.0, 0.5, 0.1, 0.0):
        made = [form(with_mga(), condition(), latent, denoise=denoise) for form in GRADED_FORMS]
        assert torch.equal(*made)
        changes.append((made[0] - latent["samples"])[inside].abs().mean().item())
    assert changes[0] > changes[1] > changes[2] > changes[3] == 0, changes
    return {"mean change inside": [round(change, 3) for change in changes]}


def _graph(stage: str, farm: bool, **options):
    """Pairs of eight images of several types, cropped, through the graph."""
    batch, adapter, (_, _, resolution) = eight(), random_stage(), base()
    objects, types = "\n".join(batch.objects), "\n".join(batch.types)
    *_, crop = call("CropToMask", image=batch.images, mask=batch.masks, resolution=resolution, context=1.0)

    def form(model, conditioning, latent, **options):
        if farm:
            model = applied(model, random_adapter(), objects, types, crop=crop, until=40.0)
        tokens = with_tokens(conditioning, adapter, objects, types, crop)
        return graded(with_mga(model, adapter), tokens, latent, stage=stage, **options)

    return pairs(batch.images, batch.masks, form, objects=objects, types=types, **options)


def check_the_graph_equals_the_engine():
    """The command line and the graph give the same pixels, with either preset and with FARM beside the heads."""
    settings, adapters, found = room("synthesis.pair").Settings, room("synthesis.adapters").Adapters, {}
    plain = shown(engine(settings("recommended", STEPS)))
    for stage, preset, farm in (
        ("stage", "recommended", True),
        ("stage-paper", "paper", False),
        ("mga-aif-ema", "fast", False),
    ):
        graph = _graph(stage, farm, steps=STEPS, preset=preset).images * 255
        both = adapters(random_adapter().modules if farm else None, random_stage().modules)
        line = shown(engine(settings(preset, STEPS, graded=stage), both)) * 255
        found[stage] = apart(graph, line), ((graph - line).abs() > 0.5).float().mean().item()
        assert apart(line, plain * 255) > 10
    assert all(levels < 1.01 and share < 1e-3 for levels, share in found.values()), found
    return {"largest difference in levels of 255, share of the pixels that differ": found}


def check_an_item_alone_is_the_item_in_its_batch():
    batch, adapter = eight(), random_stage()
    together, (model, _, resolution) = _graph("stage", False), base()
    *_, crop = call("CropToMask", image=batch.images, mask=batch.masks, resolution=resolution, context=1.0)
    ((place, _),) = crop.of(7)
    (alone,) = call(nodes.LatentFromBatch, samples=together.latent, batch_index=place, length=1)
    kind = batch.objects[7], batch.types[7]
    for form in GRADED_FORMS:
        made = form(with_mga(model), with_tokens(condition(model, *kind), adapter, *kind), alone)
        assert apart(made, together.samples[place : place + 1]) < 1e-4


def check_untrained_heads_change_nothing():
    latent, _ = plain_latent()
    plain = graded(base()[0], condition(), latent, stage="baseline")
    zero = with_mga(adapter=stage_adapter(spread=0.0))
    assert torch.equal(plain, graded(zero, condition(), latent, stage="mga"))
    assert torch.equal(plain, graded(with_mga(), condition(), latent, stage="baseline")), "baseline has no heads"
    assert apart(plain, graded(with_mga(), condition(), latent, stage="mga")) > 0.01
    assert torch.equal(graded_advanced(base()[0], condition(), latent), graded_advanced(zero, condition(), latent))
    again = graded(base()[0], condition(), latent, stage="baseline")
    assert torch.equal(plain, again), "Apply MGA changed the model itself"
    models = (with_mga(zero), with_mga())
    assert torch.equal(*(graded(model, condition(), latent) for model in models)), "the last one counts"


def check_the_baseline_is_aias():
    latent, _ = plain_latent()
    for model in (base()[0], applied(base()[0], random_adapter())):
        made = graded(model, condition(), latent, stage="baseline")
        assert apart(made, FORMS[0](model, condition(), latent, steps=STEPS)) < 1e-4


def check_heads_change_both_chunks_before_guidance():
    """One step from pure noise, against the model's own answers, recorded by a wrapper set earlier."""
    (latent, inside), adapter, answers = plain_latent(), random_stage(), []

    def listen(apply_model, args):
        answer = apply_model(args["input"], args["timestep"], **args["c"])
        answers.append((args["input"], args["timestep"], answer, args["cond_or_uncond"]))
        return answer

    heard = base()[0].clone()
    heard.set_model_unet_function_wrapper(listen)
    made = graded(with_mga(heard), condition(), latent, steps=1, stage="mga", cfg=2.0)
    ((x, sigma, x0, order),) = answers
    assert sorted(order) == [0, 1] and len(x) == 2
    mask, sigma = latent["noise_mask"].expand(2, -1, -1, -1), sigma.view(-1, 1, 1, 1)
    aware = adapter.modules.branches[0]
    changed = x - sigma * aware((x - x0) / sigma, mask, torch.full((2,), 999.0))
    cond, uncond = changed[order.index(0)], changed[order.index(1)]
    wanted = heard.model.process_latent_out((uncond + 2 * (cond - uncond))[None])
    assert apart(made[inside], wanted[inside]) < 1e-4
    assert heard.model_options["model_function_wrapper"] is listen
    plain = heard.model.process_latent_out((x0[order.index(1)] + 2 * (x0[order.index(0)] - x0[order.index(1)]))[None])
    assert apart(made[inside], plain[inside]) > 0.01


def check_models_of_other_kinds_run():
    found = {}
    fits = {"sd15": ("SD15", "", 4, 768, "eps"), "flow": ("CompactLDM", "", 4, 128, "flow")}
    for name, model, tokens, (latent, inside) in (
        ("sd15", sd15(), random_tokens(), sd15_latent()),
        ("flow", flow(), condition(), plain_latent()),
    ):
        adapter = stage_adapter(fit=fits[name])
        for stage, denoise in (("stage", 1.0), ("mga-aif-gd", 0.6)):
            made = [
                form(with_mga(model, adapter), with_tokens(tokens, adapter), latent, stage=stage, denoise=denoise)
                for form in GRADED_FORMS
            ]
            assert torch.equal(*made) and torch.isfinite(made[0]).all()
            assert (made[0] - latent["samples"])[inside].abs().mean() > 0.01
            found[f"{name}, {stage}"] = apart(made[0][~inside], latent["samples"][~inside])
        heads = adapter, stage_adapter(0.0, fits[name])
        assert apart(*(graded(with_mga(model, one), tokens, latent) for one in heads)) > 1e-3, "the heads had no effect"
    assert max(found.values()) < 1e-4
    return {"largest difference outside": found}


def check_all_other_samplers_leave_mga_out_and_aias_says_so():
    latent, _ = plain_latent()
    positive, negative = condition()
    common = {
        "seed": SEED,
        "steps": 2,
        "cfg": 2.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": positive,
        "negative": negative,
        "latent_image": latent,
        "denoise": 1.0,
    }
    models = base()[0], with_mga()
    assert torch.equal(*(call(nodes.KSampler, model=model, **common)[0]["samples"] for model in models))
    notices, listener = [], logging.Handler()
    listener.emit = lambda record: notices.append(record.getMessage())
    log = logging.getLogger(room("nodes.aias").__name__)
    log.addHandler(listener)
    try:
        for form in FORMS:
            assert torch.equal(*(form(model, condition(), latent) for model in models))
    finally:
        log.removeHandler(listener)
    assert [notice.split(":")[0] for notice in notices] == ["KSampler (AIAS)", "AIAS Sampler"]
    assert all("sample with KSampler (Graded Diffusion)" in notice for notice in notices)


def check_the_host_loads_and_offloads_the_heads():
    model, (latent, _) = with_mga(applied(base()[0], random_adapter())), plain_latent()
    modules = model.get_nested_additional_models()
    assert len(modules) == 2
    comfy.model_management.unload_all_models()
    made = graded(model, condition(), latent)
    loaded = [one.model.model for one in comfy.model_management.current_loaded_models]
    assert all(module.model in loaded for module in modules)
    assert torch.equal(made, graded(model.clone(), condition(), latent))


def check_farm_works_inside_graded_diffusion():
    latent, _ = plain_latent()
    model = with_mga(applied(base()[0], random_adapter()))
    for preset in ("recommended", "paper"):
        made = [form(model, condition(), latent, preset=preset) for form in GRADED_FORMS]
        assert torch.equal(*made) and apart(made[0], graded(with_mga(), condition(), latent, preset=preset)) > 0.01


def check_a_run_reports_its_progress_and_can_be_interrupted():
    (latent, _), seen = plain_latent(), []
    for form in GRADED_FORMS:
        comfy.utils.set_progress_bar_global_hook(lambda value, total, *_, **__: seen.append((value, total)))
        try:
            form(with_mga(), condition(), latent)
        finally:
            comfy.utils.set_progress_bar_global_hook(None)
        assert seen[-1] == (STEPS, STEPS) and seen == sorted(seen), seen  # newer hosts drop updates that come too fast
        seen.clear()
        calls, stopped = [], with_mga().clone()

        def stop(args, calls=calls):
            calls.append(1)
            comfy.model_management.interrupt_current_processing()
            return args["denoised"]

        stopped.set_model_sampler_post_cfg_function(stop)
        try:
            form(stopped, condition(), latent)
        except comfy.model_management.InterruptProcessingException:
            assert len(calls) == 1
        else:
            raise AssertionError("the run went on to its end")


def check_a_mask_schedule_of_core_is_followed():
    """Differential Diffusion: where the mask is 0.5, the background in the first half of the run, then the model's
    answer."""
    from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion

    latent, inside = plain_latent()
    soft = latent | {"noise_mask": latent["noise_mask"] * 0.5}
    exact = base()[0].clone()
    goal = exact.model.process_latent_in(latent["samples"]) + 3
    exact.set_model_sampler_post_cfg_function(lambda args: goal)
    (scheduled,) = call(DifferentialDiffusion, model=exact)
    for model, change in ((exact, 1.5), (scheduled, 3.0)):
        made = graded(with_mga(model), condition(), soft, stage="mga-aif")
        seen = (exact.model.process_latent_in(made) - goal + 3)[inside]
        assert apart(seen, torch.full_like(seen, change)) < 1e-4
        assert apart(made[~inside], latent["samples"][~inside]) < 1e-5


def check_windows_and_schedule_take_effect_where_the_stage_has_them():
    latent, _ = plain_latent()
    model = with_mga()

    def made(stage, **options):
        return graded(model, condition(), latent, stage=stage, **options)

    late = Schedule(600.0, "cosine")
    for stage in ("stage", "mga-aif-gd", "mga-aif-ema", "mga"):
        has_gd, has_ema = stage in ("stage", "mga-aif-gd"), stage in ("stage", "mga-aif-ema")
        assert torch.equal(made(stage), made(stage, windows="900-700,200-150")) != has_gd
        assert torch.equal(made(stage), made(stage, schedule=late)) != has_ema
        assert torch.equal(
            *(
                form(model, condition(), latent, stage=stage, schedule=late, windows="500.5-400")
                for form in GRADED_FORMS
            )
        )
    assert torch.equal(made("stage", windows=" "), made("mga-aif-ema"))
    assert torch.equal(made("stage", schedule=Schedule()), made("stage")), "the paper's is the default"


def check_levels_of_aias_sigmas_reach_every_window():
    for model in (base()[0], flow()):
        time_of = room("nodes.noise_levels")
        time_of = time_of.timestep_of(time_of.level_table(model))
        for kind in ("half", "quadratic", "uniform"):
            common = {"model": model, "steps": 6, "kind": kind, "refine": 0, "denoise": 1.0}
            plain, windowed = (call("AIASSigmas", **common, **more)[0] for more in ({}, {"windows": "700-690, 20-15"}))
            assert torch.equal(plain, call("AIASSigmas", **common, windows="")[0]) and len(windowed) == len(plain)
            times = [time_of(sigma) for sigma in windowed[:-1].tolist()]
            assert any(690 <= t <= 700 for t in times) and any(15 <= t <= 20 for t in times)
            late = common | {"denoise": 0.2}
            passed = call("AIASSigmas", **late, windows="1000-990")[0]
            assert torch.equal(call("AIASSigmas", **late)[0], passed), "the run starts below the window"


def check_the_schedule_is_shown_with_the_mask_at_its_levels():
    sheets = []
    for mask in (None, torch.zeros(2, 400, 300)):
        if mask is not None:
            mask[0, 200, 100] = 1  # one pixel of many
        before = set(TEMPORARY.glob("*.png"))
        output = _schedule_node().execute(200.0, "linear", "1000, 600, 200", mask)
        schedule, picture = output.args
        assert schedule == room("samplers.mask_schedule").MaskSchedule(200.0)
        assert picture.shape[0] == 1 and picture.shape[3] == 3 and picture.min() >= 0 and picture.max() == 1
        assert len(set(TEMPORARY.glob("*.png")) - before) == 1, "it is shown on the node"
        sheets.append(picture[0])
    shown, gap = room("nodes.mask_schedule"), room("images.drawing").PANEL_GAP
    assert torch.equal(sheets[1][: len(sheets[0])], sheets[0]) and len(sheets[1]) > len(sheets[0]) + shown.TILE
    tiles = sheets[1][len(sheets[0]) :]
    inner = [tiles[5 : shown.TILE - 5, gap + place * (shown.TILE + shown.SPACE) :][:, 5:70] for place in range(3)]
    means = [tile.mean().item() for tile in inner]
    assert means[0] == 1 and abs(means[1] - 0.5) < 0.01 and 0 < means[2] < 0.01, means


def _schedule_node():
    node = nodes.NODE_CLASS_MAPPINGS["SIAS_EMAMaskSchedule"]
    node.GET_SCHEMA()
    return node


def check_tokens_of_stage_are_appended():
    adapter = random_stage()
    ((tokens, _),) = with_tokens(condition(), adapter).positive
    row = adapter.modules.tokens.row(*KIND)
    assert torch.equal(tokens[0, -3:], adapter.modules.tokens.rows[row].to(tokens))
    latent, _ = plain_latent()
    extended = Conditioning(with_tokens(condition(), adapter).positive, condition().negative)
    assert apart(FORMS[0](base()[0], extended, latent), FORMS[0](base()[0], condition(), latent)) > 0
