"""The same result in both forms, from the command line's engine, and for an item alone as in its batch."""

from __future__ import annotations

from functools import cache

import torch

import nodes

from .scenes import (
    FORMS,
    SEED,
    STEPS,
    Pairs,
    apart,
    base,
    condition,
    eight,
    engine,
    ksampler,
    pairs,
    plain_latent,
    shown,
)
from .start import call, room


def check_both_forms_give_equal_latents():
    latent, inside = plain_latent()
    for preset in room("samplers.presets").PRESETS:
        for denoise in (1.0, 0.6):
            made = [form(base()[0], condition(), latent, preset=preset, denoise=denoise, steps=6) for form in FORMS]
            assert torch.equal(*made), f"{preset}, denoise {denoise}: {apart(*made)} apart"
            assert (made[0] - latent["samples"])[inside].abs().mean() > 0.1


def check_both_forms_give_equal_pairs_of_a_batch_of_crops():
    made = [_graph(form) for form in FORMS]
    assert torch.equal(made[0].samples, made[1].samples) and torch.equal(made[0].images, made[1].images)
    assert len(made[0].samples) > len(made[0].images) == 8


@cache
def _graph(form) -> Pairs:
    batch = eight()
    return pairs(batch.images, batch.masks, form, objects="\n".join(batch.objects), types="\n".join(batch.types))


def check_the_graph_equals_the_engine():
    made = _graph(ksampler)
    line = engine(room("synthesis.pair").Settings(steps=STEPS))
    levels = apart(made.images * 255, shown(line) * 255)
    visibilities = [abs(s.visibility - p.visibility) for s, p in zip(made.scores, line, strict=True)]
    (sigmas,) = call("AIASSigmas", model=base()[0], steps=20, kind="half", refine=0, denoise=1.0)
    grid, schedule = room("samplers.grid"), room("samplers.schedule")
    levels_of_engine = grid.grid_sigmas(grid.aias_grid(20, "half", refine=0), schedule.ldm_sigmas()).float()
    assert torch.equal(sigmas, levels_of_engine)
    assert [len(p.windows) for p in line].count(1) < 8, "an image should have more than one crop"
    assert all(s.windows == p.windows for s, p in zip(made.scores, line, strict=True))
    assert levels < 1.01 and max(visibilities) < 0.05
    return {"largest difference in levels of 255": levels, "of visibility": max(visibilities)}


def check_item_7_taken_from_the_batch_is_item_7_of_8():
    batch, (model, _, resolution), differences = eight(), base(), {}
    for form in FORMS:
        together = _graph(form)
        _, _, crop = call("CropToMask", image=batch.images, mask=batch.masks, resolution=resolution, context=1.0)
        ((place, _),) = crop.of(7)
        assert place > 7, "places and items should differ"
        (alone,) = call(nodes.LatentFromBatch, samples=together.latent, batch_index=place, length=1)
        made = form(model, condition(model, batch.objects[7], batch.types[7]), alone)
        differences[form.__name__] = apart(made, together.samples[place : place + 1])
    assert max(differences.values()) < 1e-4, differences
    return differences


def check_item_7_as_a_batch_of_its_own_with_its_seed_is_item_7_of_8():
    batch, differences = eight(), {}
    for form in FORMS:
        together = _graph(form)
        made = pairs(
            batch.images[7:], batch.masks[7:], form, seed=SEED + 7, objects=batch.objects[7], types=batch.types[7]
        )
        differences[form.__name__] = apart(made.samples, together.samples[-1:])
        assert apart(made.images * 255, together.images[7:] * 255) < 1.01
    assert max(differences.values()) < 1e-4, differences
    return differences


def check_another_seed_gives_another_anomaly():
    latent, inside = plain_latent()
    for form in FORMS:
        made = [form(base()[0], condition(), latent, seed=seed) for seed in (0, 1)]
        assert (made[0] - made[1]).abs()[inside].mean() > 0.1


def check_items_of_one_image_differ():
    latent, _ = plain_latent()
    (twice,) = call(nodes.RepeatLatentBatch, samples=latent, amount=2)
    first, second = ksampler(base()[0], condition(), twice)
    assert apart(first, second) > 0.1


def check_denoise_0_gives_the_latents_back():
    latent, _ = plain_latent()
    for form in FORMS:
        assert torch.equal(form(base()[0], condition(), latent, denoise=0.0), latent["samples"])


def check_less_denoise_changes_less_inside_the_mask():
    latent, inside = plain_latent()
    figures = {}
    for form in FORMS:
        change = [
            (form(base()[0], condition(), latent, denoise=denoise, steps=8) - latent["samples"]).abs()
            for denoise in (1.0, 0.5, 0.1)
        ]
        means = [c[inside].mean().item() for c in change]
        assert 0.7 * means[0] > means[1] > 2 * means[2] > 0, means
        assert max(c[~inside].max().item() for c in change) < 1e-5
        figures[form.__name__] = [round(mean, 3) for mean in means]
    return figures


def check_one_and_two_steps_work():
    latent, inside = plain_latent()
    for steps in (1, 2):
        for preset in room("samplers.presets").PRESETS:
            made = [form(base()[0], condition(), latent, steps=steps, preset=preset) for form in FORMS]
            assert torch.equal(*made) and torch.isfinite(made[0]).all()
            change = (made[0] - latent["samples"]).abs()
            assert change[inside].max() > 0.1 and change[~inside].max() < 1e-5


def check_a_latent_without_a_mask_is_sampled_as_a_whole():
    (empty,) = call(nodes.EmptyLatentImage, width=128, height=128, batch_size=2)
    latent = {"samples": empty["samples"].new_zeros(2, 4, 16, 16)}
    made = [form(base()[0], condition(), latent) for form in FORMS]
    assert torch.equal(*made) and made[0].std() > 0.1 and apart(made[0][0], made[0][1]) > 0.1


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
    for form in FORMS:
        for model, change in ((exact, 1.5), (scheduled, 3.0)):
            made = form(model, condition(), soft, steps=6)
            seen = (exact.model.process_latent_in(made) - goal + 3)[inside]
            assert apart(seen, torch.full_like(seen, change)) < 1e-4, (form.__name__, change)
            assert apart(made[~inside], latent["samples"][~inside]) < 1e-5
