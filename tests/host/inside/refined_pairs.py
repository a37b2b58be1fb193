"""Refine Pairs: never worse than the first draw, the same at the same seed, with any sampler and any model."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import comfy.model_management
import comfy.utils
import torch

from .controls import resampled
from .fast_scenes import applied, random_adapter
from .nearest import real_defects
from .other_models import random_tokens, sd15
from .refined_scenes import CFG, SEED, STEPS, drawn, eight_drawn, order, sampler, two_drawn, watched
from .scenes import apart, base, eight, ksampler, one
from .stage_scenes import with_mga
from .start import OUTPUT, call, own, room


def check_no_pair_gets_worse_and_outside_the_masks_nothing_changes():
    """Masks of several sizes, one of them in pieces: more crops than images."""
    draw, figures = eight_drawn(), {}
    for name in ("aias", "euler"):
        images, scores, report = draw.refined(sampler=sampler(name))
        kept = [score.refined["round"] for score in scores]
        assert len(draw.inputs["crop"].parts) > len(scores) == 8 and max(kept) > 0, kept
        for item, (score, first) in enumerate(zip(scores, draw.scores, strict=True)):
            assert order(score) >= order(first) and (kept[item] == 0) == (order(score) == order(first))
            assert torch.equal(images[item], draw.images[item]) == (kept[item] == 0)
        outside = eight().masks == 0
        assert torch.equal(images[outside], eight().images[outside])
        assert report.startswith("8 pairs")
        figures[name] = kept
    return figures


def check_the_kept_pair_is_the_best_of_all_rounds():
    draw = two_drawn()
    with watched("composed") as made:
        images, scores, _ = draw.refined(rounds=4)
    assert len(made) == 4
    for item, score in enumerate(scores):
        tried = [(draw.images, draw.scores), *(result for _, result in made)]
        best = max(range(5), key=lambda number: order(tried[number][1][item]))
        assert score.refined["round"] == best and torch.equal(images[item], tried[best][0][item])
        assert score.entries == tried[best][1][item].entries


def check_the_same_seed_gives_the_same_pairs_and_another_seed_others():
    draw = two_drawn()
    results = [draw.refined(seed=seed) for seed in (SEED, SEED, SEED + 1000)]
    assert torch.equal(results[0][0], results[1][0]) and results[0][1:] == results[1][1:]
    assert not torch.equal(results[0][0], results[2][0])
    seeds = {score.seed for _, scores, _ in results for score in scores if score.refined["round"]}
    assert SEED not in seeds and SEED + 1 not in seeds and len(seeds) > 1


def check_an_item_alone_is_the_item_of_a_batch():
    batch, draw = eight(), two_drawn()
    alone = drawn(batch.images[:1], batch.masks[:1], batch.objects[0], batch.types[0]).refined()
    both = draw.refined()
    assert alone[1][0].refined["round"] == both[1][0].refined["round"] and alone[1][0].seed == both[1][0].seed
    assert apart(alone[0][0] * 255, both[0][0] * 255) < 1.01


def check_whole_images_without_crop():
    image, mask = one((96, 130))
    draw = drawn(image, mask, cropped=False)
    images, (score,), _ = draw.refined(sampler=sampler("euler"))
    assert order(score) >= order(draw.scores[0]) and torch.equal(images[mask == 0], image[mask == 0])
    assert score.refined["calls"] == draw.inputs["rounds"] * 2 * STEPS


def check_every_round_changes_one_setting_and_draws_new_seeds():
    fast, guided = room("nodes.fast"), [CFG, CFG * 1.5, CFG, CFG / 1.5, CFG]
    draw = two_drawn()
    model = applied(base()[0], random_adapter(), *draw.kinds, strength=0.8)
    renoise = call(
        "AIASSampler", order=1, eta=1.0, variance=0.0, pure_start=False, correct=False, foreground_mode="renoise"
    )[0]
    whole = applied(base()[0], random_adapter(), *draw.kinds)
    for given, farm, how in (
        (model, [0.8, 0.8, 0.4, 0.8, 0.8], sampler("aias")),
        (model, [0.8] * 3, sampler("euler")),
        (whole, [1.0] * 3, renoise),
        (base()[0], [0.0] * 3, sampler("aias")),
    ):
        with watched("sampled") as runs:
            draw.refined(model=given, rounds=len(farm), sampler=how)
        assert [fast.farm_share(arguments[1]) for arguments, _ in runs] == farm
        assert [arguments[3] for arguments, _ in runs] == guided[: len(farm)]
        seeds = [seed for arguments, _ in runs for seed in arguments[2].items]
        assert len(set(seeds)) == len(farm) * len(draw.images) and not {SEED, SEED + 1} & set(seeds)
    with watched("sampled") as runs:
        draw.refined(rounds=2, cfg=1.0)
    assert [arguments[3] for arguments, _ in runs] == [1.0] * 2
    assert fast.farm_share(model) == 0.8


def check_only_invisible_pairs_are_drawn_again_and_only_until_they_are_visible():
    draw, rounds = eight_drawn(), 2
    seen = sorted(score.visibility for score in draw.scores)
    between = (seen[3] + seen[4]) / 2
    for above, hidden in ((0.0, 0), (between, 4), (100.0, 8)):
        given = draw.judged(above)
        images, scores, report = given.refined(refine="not visible", rounds=rounds)
        assert sum(not score.visible for score in given.scores) == hidden
        for item, (first, score) in enumerate(zip(given.scores, scores, strict=True)):
            assert order(score) >= order(first) and (score.refined["calls"] == 0) == first.visible
            assert not first.visible or torch.equal(images[item], draw.images[item])
        made = int(report.split("calls of the model: ")[1].split()[0])
        parts = len(draw.inputs["crop"].parts)
        assert made == sum(score.refined["calls"] for score in scores) if hidden else made == 0
        assert (made == rounds * 2 * STEPS * parts) == (hidden == 8)


def _latents_with_and_without_a_patch(model, how) -> tuple[float, float]:
    """Largest differences of latents and of images of the invisible pairs between sampling them alone and, since the
    model has a patch, sampling all."""
    draw = eight_drawn()
    seen = sorted(score.visibility for score in draw.scores)
    given, crop, results = draw.judged((seen[3] + seen[4]) / 2), draw.inputs["crop"], []
    patched = model.clone()
    patched.set_model_sampler_post_cfg_function(lambda arguments: arguments["denoised"])
    for one_model in (model, patched):
        with watched("sampled") as runs:
            images, *_ = given.refined(model=one_model, sampler=how, refine="not visible", rounds=1)
        results.append((runs[0][1], images))
    places = [place for item, score in enumerate(given.scores) if not score.visible for place, _ in crop.of(item)]
    assert len(results[0][0]) == len(places) < len(results[1][0]) == len(crop.parts)
    return apart(results[0][0], results[1][0][places]), apart(results[0][1] * 255, results[1][1] * 255)


def check_some_items_of_a_batch_are_sampled_as_in_the_whole_batch():
    """Tokens and FARM's types go by item. A model with a patch is run on all items, since the patch may depend on
    them."""
    farm = applied(base()[0], random_adapter(), *eight_drawn().kinds, strength=0.5, crop=eight_drawn().inputs["crop"])
    (stage,) = call(
        "GradedSampler",
        order=2,
        eta=0.5,
        variance=0.0,
        pure_start=True,
        correct=True,
        aif=True,
        blend="x0",
        windows="",
        mask_schedule=None,
    )
    figures = [_latents_with_and_without_a_patch(*given) for given in ((farm, sampler("aias")), (with_mga(), stage))]
    assert max(latents for latents, _ in figures) < 1e-4 and max(images for _, images in figures) < 1.01, figures
    return {"largest difference of latents and of images": figures}


def check_calls_are_two_a_step_with_guidance_and_one_without():
    draw = eight_drawn()
    parts = [len(draw.inputs["crop"].of(item)) for item in range(8)]
    for cfg, each in ((CFG, 2), (1.0, 1)):
        _, scores, report = draw.refined(cfg=cfg, rounds=1)
        assert [score.refined["calls"] for score in scores] == [STEPS * each * count for count in parts]
        assert f"calls of the model: {STEPS * each * sum(parts)} " in report


def check_a_distance_to_real_defects_counts_only_where_all_draws_have_it():
    draw = two_drawn()
    far = [replace(score, nearest_real=9.0) for score in draw.scores]
    plain, scored = draw.refined(), draw.refined(scores=far)
    assert torch.equal(plain[0], scored[0])
    for score, same in zip(scored[1], plain[1], strict=True):
        kept = score.refined["round"]
        assert kept == same.refined["round"] and score.nearest_real == (None if kept else 9.0)
        assert score.refined["first"]["nearest_real"] == 9.0
    real, (objects, types) = real_defects(), draw.kinds
    (known,) = call(
        "NearestRealDefect",
        image=draw.images,
        scores=draw.scores,
        real=real,
        object=objects,
        type=types,
        crop=draw.inputs["crop"],
    )
    with watched("composed") as made:
        images, nearer, _ = draw.refined(scores=known, real=real, object=objects, type=types)
    (again,) = call(
        "NearestRealDefect",
        image=images,
        scores=nearer,
        real=real,
        object=objects,
        type=types,
        crop=draw.inputs["crop"],
    )
    for item, (score, first) in enumerate(zip(nearer, known, strict=True)):
        assert score.nearest_real == again[item].nearest_real and order(score) >= order(first)
        tried = sum(result[1][item].visible for _, result in made)
        assert not tried or score.visible


def check_controls_go_along_with_the_scores():
    draw = two_drawn()
    model, vae, _ = base()
    composing = replace(draw.scores[0].composing, controls=resampled(model, vae, draw.inputs["latent"]))
    hidden = [replace(score, composing=composing, visible=False) for score in draw.scores]
    with watched("composed") as whole:
        draw.refined(scores=hidden, rounds=1)
    with watched("composed") as part:
        draw.refined(scores=[replace(hidden[0], visible=True), hidden[1]], rounds=1, refine="not visible")
    (_, all_scores), (_, some_scores) = whole[0][1], part[0][1]
    assert len(all_scores) == 2 and len(some_scores) == 1
    assert all(score.visible == (score.excess > composing.visible_above) for score in all_scores)
    assert abs(some_scores[0].excess - all_scores[1].excess) < 1e-3 * all_scores[1].excess


def check_the_manifest_records_the_search():
    draw = eight_drawn()
    images, scores, _ = draw.refined()
    prompt = {
        "1": {"class_type": "SIAS_KSamplerAIAS", "inputs": {"latent_image": ["0", 0], "seed": 40}},
        "2": {"class_type": "SIAS_SavePairs", "inputs": {"image": ["1", 0]}},
    }
    node = type(
        "WithHidden", (own("SavePairs"),), {"hidden": SimpleNamespace(prompt=prompt, unique_id="2", extra_pnginfo={})}
    )
    call(
        node,
        image=images,
        mask=eight().masks,
        normal=eight().images,
        object="\n".join(eight().objects),
        type="\n".join(eight().types),
        folder="refined",
        scores=scores,
    )
    records = room("datasets.pairs").read_manifest(OUTPUT / "refined")
    seed_of = room("nodes.redraw").round_seed
    for item, (record, first) in enumerate(zip(records, draw.scores, strict=True)):
        search = record["refined"]
        assert list(search) == ["rounds", "round", "changed", "first", "calls", "first_calls"]
        assert search["rounds"] == draw.inputs["rounds"]
        assert search["first"] == first.entries | {"visible": first.visible}
        assert search["changed"] == ({"guidance": CFG * 1.5} if search["round"] == 2 else {})
        assert record["seed"] == (seed_of(SEED, search["round"]) + item if search["round"] else 40 + item)
        assert record["visible"] == scores[item].visible and search["first_calls"] is None


def check_progress_runs_over_all_rounds():
    shown = []
    before = comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(lambda value, total, *_, **__: shown.append((value, total)))
    try:
        two_drawn().refined(rounds=3)
    finally:
        comfy.utils.set_progress_bar_global_hook(before)
    values = [value for value, _ in shown]  # the host drops updates that come too soon
    assert {total for _, total in shown} == {3 * STEPS} and values == sorted(set(values)), shown
    assert values[0] == 1 and values[-1] == 3 * STEPS and len(values) > 3


def check_an_interrupted_search_leaves_nothing_patched():
    draw = two_drawn()
    model = applied(base()[0], random_adapter(), *draw.kinds)
    before, options = draw.refined(model=model)[0], dict(model.model_options)
    attached, wrappers = dict(model.attachments), {kind: dict(held) for kind, held in model.wrappers.items()}
    inner = room("nodes.redraw").composed

    def pressed(*arguments):
        comfy.model_management.interrupt_current_processing(True)
        return inner(*arguments)

    room("nodes.redraw").composed = pressed
    try:
        draw.refined(model=model)
        stopped = False
    except comfy.model_management.InterruptProcessingException:
        stopped = True
    finally:
        room("nodes.redraw").composed = inner
    assert stopped and not comfy.model_management.processing_interrupted()
    assert model.model_options == options and model.attachments == attached
    assert {kind: dict(held) for kind, held in model.wrappers.items()} == wrappers
    assert torch.equal(draw.refined(model=model)[0], before)


class _Mean:
    """A VAE of SD's ratio and channels without weights."""

    latent_channels = 4

    def spacial_compression_encode(self) -> int:
        return 8

    def encode(self, image):
        grey = torch.nn.functional.avg_pool2d(image.movedim(-1, 1), 8).mean(1, keepdim=True)
        return 10 * (grey - 0.5).expand(-1, 4, -1, -1)

    def decode(self, latent):
        grey = (latent.mean(1, keepdim=True) / 10 + 0.5).clamp(0, 1)
        return torch.nn.functional.interpolate(grey, scale_factor=8).expand(-1, 3, -1, -1).movedim(1, -1)


def check_a_model_of_sd15s_shape_is_refined_with_core_s_sampler():
    image, mask = one((70, 90))
    vae, model, tokens = _Mean(), sd15(), random_tokens()
    (latent,) = call("DefectLatent", image=image, mask=mask, vae=vae, crop=None)
    made = ksampler(model, tokens, latent, steps=2)
    first, scores = call(
        "ComposePair",
        normal=image,
        mask=mask,
        made=vae.decode(made),
        roundtrip=vae.decode(latent["samples"]),
        mode="paste",
        feather=2,
        visible_above=1.0,
        crop=None,
    )
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)
    images, (score,), _ = call(
        "RefinePairs",
        model=model,
        positive=tokens.positive,
        negative=tokens.negative,
        vae=vae,
        sampler=sampler("euler"),
        sigmas=sigmas,
        normal=image,
        mask=mask,
        image=first,
        scores=scores,
        latent=latent,
        rounds=2,
        seed=SEED,
        cfg=CFG,
        refine="all",
        crop=None,
    )
    assert order(score) >= order(scores[0]) and torch.equal(images[mask == 0], image[mask == 0])
    assert score.composing == scores[0].composing and score.composing.mode == "paste"
