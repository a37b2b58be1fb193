"""Graded diffusion: the paper's equations to 1e-8, the background's noise, what is exact, what is refused."""

import re
from itertools import product
from math import sqrt

import pytest
import torch
from anomaly_synthesis.errors import Refused
from anomaly_synthesis.modules.mga import MGA
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.graded import sample_graded
from anomaly_synthesis.samplers.graded_windows import PAPER_WINDOWS, RELEASED_WINDOWS, graded_grid
from anomaly_synthesis.samplers.grid import KINDS, grid_sigmas
from anomaly_synthesis.samplers.mask_schedule import MaskSchedule
from anomaly_synthesis.samplers.noise import initial_noise
from anomaly_synthesis.samplers.presets import preset
from anomaly_synthesis.samplers.schedule import alphas_cumprod, nearest_timestep

from .sampler_toys import SHAPE, TABLE, denoiser, fill, hard_mask, normal

ALL = list(range(999, -1, -1))
SIGMAS = grid_sigmas(graded_grid(9), TABLE)


def aware(eps, mask, t):
    return eps + 0.1 * mask * torch.sin(eps) + 1e-4 * t.view(-1, 1, 1, 1)


def only(eps, mask, t):
    return 0.9 * eps + 0.2 * mask - 1e-4 * t.view(-1, 1, 1, 1)


class Recorded:
    """A noise_sampler that keeps for which levels it drew."""

    def __init__(self, shape=SHAPE):
        self.shape, self.levels = shape, []

    def __call__(self, sigma_s, sigma_e):
        self.levels.append((sigma_s, sigma_e))
        return normal(*self.shape, seed=1000 + len(self.levels))


def start(seed=0):
    return normal(*SHAPE, seed=seed) * SIGMAS[0]


def known(seed=3):
    return {"mask": hard_mask(), "background": normal(*SHAPE, seed=seed)}


# The paper


def stage_as_printed(eps_of, x, mask, x_back, draw, windows, t_s):
    """Algorithm 1 and Eq. 2-8 in the paper's VP terms, one DDPM step after the other; t counts from 1."""
    abar = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod()])
    for t in range(1000, 0, -1):
        beta, level = 1 - abar[t] / abar[t - 1], t - 1
        mean_of = abar[t - 1].sqrt() * beta / (1 - abar[t]), (1 - beta).sqrt() * (1 - abar[t - 1]) / (1 - abar[t])
        std = ((1 - abar[t - 1]) / (1 - abar[t]) * beta).sqrt()
        zeta, zeta_next = (min(max((u - t_s) / (1000 - t_s), 0), 1) for u in (level, level - 1))
        if any(lo <= level <= hi for hi, lo in windows):
            x_p = mask * x + (1 - mask) * (1 - abar[t]).sqrt() * draw()
            eps = only(eps_of(x_p, level), mask, torch.full((2,), level))
            x0_p = (x_p - (1 - abar[t]).sqrt() * eps) / abar[t].sqrt()
            y = mean_of[0] * mask * x0_p + mean_of[1] * x_p
            outside = 0.0
        else:
            mp, outside = mask + zeta * (1 - mask), zeta_next
            eps = aware(eps_of(x, level), mp, torch.full((2,), level))
            x0 = (x - (1 - abar[t]).sqrt() * eps) / abar[t].sqrt()
            y = mean_of[0] * (mp * x0 + (1 - mp) * x_back) + mean_of[1] * x
        if t == 1:
            return mask * y + (1 - mask) * x_back
        y = y + std * draw()
        mp_next = mask + outside * (1 - mask)
        x = mp_next * y + (1 - mp_next) * (abar[t - 1].sqrt() * x_back + (1 - abar[t - 1]).sqrt() * draw())


@pytest.mark.parametrize(("windows", "t_s"), [(PAPER_WINDOWS, 200), (RELEASED_WINDOWS, 300)])
def test_at_1000_steps_it_is_the_paper_to_1e_8(windows, t_s):
    sigmas, scale = grid_sigmas(ALL, TABLE), sqrt(1 + float(TABLE[-1]) ** 2)
    abar = alphas_cumprod()

    def eps_of(x_vp, level):
        x = x_vp / abar[level].sqrt()
        return (x - denoiser(x, TABLE[level].expand(2))) / TABLE[level]

    drawn = Recorded()
    expected = stage_as_printed(
        eps_of, start() / scale, known()["mask"], known()["background"], lambda: drawn(0, 0), windows, t_s
    )
    noise = Recorded()
    result = sample_graded(
        denoiser,
        start(),
        sigmas,
        **known(),
        branches=(aware, only),
        windows=windows,
        blend="paper",
        mask_schedule=MaskSchedule(t_s),
        noise_sampler=noise,
    )
    assert len(noise.levels) == len(drawn.levels) > 2000
    assert (result - expected).abs().max() < 1e-8


def background_noise(blend, windows=RELEASED_WINDOWS, **options):
    """Variance over nominal of the noise outside the mask, by t, where the background's estimate is exact."""
    background, mask = normal(1, 4, 100, 100, seed=3).float(), torch.zeros(1, 1, 100, 100)
    mask[..., 40:60, 40:60] = 1
    found, outside = {}, (mask == 0).expand_as(background)

    def note(level):
        spread = ((level["x"] - background) / level["sigma"])[outside]
        found[nearest_timestep(float(level["sigma"]))] = spread.var().item()

    first = background + TABLE[-1] * normal(*background.shape).float()
    sample_graded(
        lambda x, sigma: background,
        first,
        grid_sigmas(ALL, TABLE),
        mask=mask,
        background=background,
        windows=windows,
        blend=blend,
        callback=note,
        seeds=[1],
        **options,
    )
    return found


def test_the_paper_s_blend_takes_the_noise_out_of_the_background():
    found = background_noise("paper")
    for t, ratio in {950: 0.14, 900: 0.10, 801: 0.15, 750: 1, 690: 0.24, 500: 0.45, 100: 1}.items():
        assert found[t] == pytest.approx(ratio, abs=0.03 if ratio == 1 else 0.02), t


def test_the_blend_of_x0_keeps_it_nominal_at_every_level():
    found = background_noise("x0")
    assert len(found) == 1000 and all(abs(ratio - 1) < 0.03 for ratio in found.values())


# What is exact


@pytest.mark.parametrize("blend", ["x0", "paper"])
@pytest.mark.parametrize("name", ["paper", "recommended", "fast"])
def test_outside_the_mask_the_result_is_the_background(name, blend):
    grid, options = preset(name, 6)
    options = {"foreground": fill, "branches": (aware, only), "blend": blend, "seeds": [0, 1]} | options
    sigmas, mask = grid_sigmas(graded_grid(**grid), TABLE), hard_mask()
    background = normal(*SHAPE, seed=3)
    for drop in ({}, {"windows": ()}, {"mask_schedule": None}, {"aif": False}, {"aif": False, "mask_schedule": None}):
        result = sample_graded(denoiser, start(), sigmas, mask=mask, background=background, **(options | drop))
        outside = (mask == 0).expand(SHAPE)
        assert torch.equal(result[outside], background[outside]), drop
        assert (result - background).abs()[~outside].min() > 0
        empty = sample_graded(denoiser, start(), sigmas, mask=0 * mask, background=background, **(options | drop))
        assert torch.equal(empty, background), drop


def test_inside_the_mask_both_branches_see_one_tensor():
    """What the model is given in a window is the trajectory inside the mask, and noise about 0 outside."""
    seen, states, mask = [], [], torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    mask[..., 10:20, 10:20] = 1
    background = 50 + normal(1, 4, 40, 40, seed=3)
    sigmas = grid_sigmas(graded_grid(12), TABLE)

    def model(x, sigma):
        seen.append((nearest_timestep(float(sigma[0])), x))
        return denoiser(x, sigma)

    sample_graded(
        model,
        background + sigmas[0] * normal(1, 4, 40, 40),
        sigmas,
        mask=mask,
        background=background,
        seeds=[0],
        callback=lambda level: states.append(level["x"]),
    )
    inside, windowed = (mask > 0).expand_as(background), 0
    for (t, given), x, sigma in zip(seen, states, sigmas[:-1].tolist(), strict=True):
        assert torch.equal(given[inside], x[inside])
        if any(lo <= t <= hi for hi, lo in PAPER_WINDOWS):
            windowed += 1
            assert given[~inside].mean().abs() < 0.1 * sigma and given[~inside].std() == pytest.approx(sigma, rel=0.05)
        else:
            assert torch.equal(given, x)
    assert windowed >= 2 and len(seen) == len(states) == 12


@pytest.mark.parametrize("preset_name", ["recommended", "fast"])
def test_untrained_heads_change_nothing(preset_name):
    grid, options = preset(preset_name, 6)
    sigmas = grid_sigmas(graded_grid(**grid), TABLE)
    heads = tuple(MGA(3, branch=branch, widths=(16,)).double() for branch in ("aware", "only"))
    plain, with_heads = (
        sample_graded(denoiser, start(), sigmas, **known(), branches=branches, seeds=[0, 1], **options)
        for branches in (None, heads)
    )
    assert torch.equal(plain, with_heads)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_with_every_part_off_it_is_aias(order, eta):
    options = {"order": order, "eta": eta, "seeds": [0, 1], "foreground": fill, "foreground_strength": 0.5}
    plain = sample_aias(denoiser, start(), SIGMAS, **known(), **options)
    off = sample_graded(denoiser, start(), SIGMAS, **known(), windows=(), mask_schedule=None, aif=False, **options)
    assert torch.allclose(off, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["paper", "recommended", "fast"])
@pytest.mark.parametrize("soft", [1.0, 0.6])
def test_without_windows_and_with_one_mask_it_is_aias_to_the_last_bit(name, soft):
    grid, options = preset(name, 6)
    options = {"mask": soft * hard_mask(), "background": normal(*SHAPE, seed=3), "foreground": fill} | options
    sigmas = grid_sigmas(graded_grid(**grid, windows=()), TABLE)
    graded = sample_graded(
        denoiser, start(), sigmas, windows=(), mask_schedule=lambda mask, t: mask, seeds=[0, 1], **options
    )
    assert torch.equal(graded, sample_aias(denoiser, start(), sigmas, seeds=[0, 1], **options))


@pytest.mark.parametrize("item", [0, 2, 3, 5])
@pytest.mark.parametrize(("name", "blend"), [("recommended", "x0"), ("paper", "paper"), ("fast", "x0")])
def test_an_item_alone_is_the_item_in_a_batch(name, blend, item):
    grid, options = preset(name, 6)
    mask = torch.rand(6, 1, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.where(mask > 0.6, mask, 0)
    mask[:4] = mask[:4].ceil()
    mask[2], mask[3] = 1, 0
    background, x = normal(6, 3, 6, 5, seed=3), SIGMAS[0] * initial_noise(torch.empty(6, 3, 6, 5).double(), range(6))
    sigmas = grid_sigmas(graded_grid(**grid), TABLE)
    options |= {"foreground": fill, "branches": (aware, only), "blend": blend}
    batch = sample_graded(denoiser, x, sigmas, mask=mask, background=background, seeds=range(10, 16), **options)
    one = slice(item, item + 1)
    alone = sample_graded(
        denoiser, x[one], sigmas, mask=mask[one], background=background[one], seeds=[10 + item], **options
    )
    assert torch.equal(batch[one], alone)


# Heads, windows, levels


def test_each_branch_has_its_head_its_mask_and_one_call_of_the_model():
    calls, seen = [], []

    def head(name):
        return lambda eps, mask, t: seen.append((name, t.tolist(), mask)) or eps

    def model(x, sigma):
        calls.append(float(sigma[0]))
        return denoiser(x, sigma)

    sample_graded(model, start(), SIGMAS, **known(), branches=(head("aware"), head("only")), seeds=[0, 1])
    assert calls == SIGMAS[:-1].tolist() and len(seen) == 9
    for sigma, (name, t, mask) in zip(calls, seen, strict=True):
        level = nearest_timestep(sigma)
        in_window = any(lo <= level <= hi for hi, lo in PAPER_WINDOWS)
        assert name == ("only" if in_window else "aware") and t == [level, level]
        assert torch.equal(mask, hard_mask() if in_window else MaskSchedule()(hard_mask(), level))
    assert {name for name, *_ in seen} == {"aware", "only"}


@pytest.mark.parametrize("stacked", [True, False])
def test_a_head_acts_on_every_answer_before_guidance_mixes_them(stacked):
    guidance, levels, seen, sigmas = 3.0, [], [], torch.tensor([2.0, 0.0], dtype=torch.float64)

    def head(eps, mask, t):
        seen.append((len(eps), mask, t))
        return eps**2 * mask

    def answers(x, sigma):
        return denoiser(x, sigma), 0.5 * denoiser(2 * x, sigma)

    def headed(change):
        def model(x, sigma):
            both = answers(x, sigma)
            if stacked:
                conditional, unconditional = change(torch.cat([x, x]), torch.cat(both)).chunk(2)
            else:
                conditional, unconditional = (change(x, x0) for x0 in both)
            return unconditional + guidance * (conditional - unconditional)

        return model

    sample_graded(
        None,
        start(),
        sigmas,
        **known(),
        branches=(head, None),
        headed=headed,
        windows=(),
        mask_schedule=None,
        seeds=[0, 1],
        callback=levels.append,
    )
    conditional, unconditional = [
        start() - 2 * ((start() - x0) / 2) ** 2 * hard_mask() for x0 in answers(start(), sigmas[:1].expand(2))
    ]
    x0 = unconditional + guidance * (conditional - unconditional)
    assert torch.allclose(levels[0]["denoised"], torch.where(hard_mask() > 0, x0, known()["background"]))
    for count, mask, t in seen:
        assert count == (4 if stacked else 2) == len(mask) == len(t)
        assert torch.equal(mask[-2:], hard_mask().expand(2, -1, -1, -1))


def test_a_head_s_noise_takes_the_place_of_the_denoiser_s():
    levels, sigmas = [], torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    for alpha in (None, lambda sigma: 1 - sigma / 4):
        levels.clear()
        sample_graded(
            denoiser,
            start(),
            sigmas,
            **known(),
            branches=(lambda eps, mask, t: 0 * eps + 3, None),
            windows=(),
            mask_schedule=None,
            alpha=alpha,
            seeds=[0, 1],
            callback=levels.append,
        )
        signal = alpha(2.0) if alpha else 1
        x0 = torch.where(hard_mask() > 0, (start() - 2 * 3) / signal, known()["background"])
        assert torch.allclose(levels[0]["denoised"], x0)


def test_a_flow_models_pure_noise_skips_its_heads_and_gives_finite_values():
    table = torch.arange(1, 1001, dtype=torch.float64) / 1000
    sigmas = grid_sigmas(graded_grid(6), table)
    result = sample_graded(
        denoiser,
        normal(*SHAPE),
        sigmas,
        **known(),
        branches=(aware, only),
        alpha=lambda sigma: 1 - sigma,
        timestep=lambda sigma: 1000 * sigma - 1,
        seeds=[0, 1],
    )
    assert result.isfinite().all()


@pytest.mark.parametrize("blend", ["x0", "paper"])
@pytest.mark.parametrize("form", ["ve", "flow"])
def test_a_perfect_estimate_keeps_the_marginals_inside(form, blend):
    truth, mask = torch.full((1, 1, 150, 150), 3.0, dtype=torch.float64), torch.zeros(1, 1, 150, 150)
    mask[..., 75:] = 1
    table = TABLE if form == "ve" else torch.arange(1, 1001, dtype=torch.float64) / 1000
    alpha = None if form == "ve" else lambda sigma: 1 - sigma
    sigmas, states = grid_sigmas(graded_grid(8), table), []
    sample_graded(
        lambda x, sigma: truth,
        (0 if alpha else 3) + sigmas[0] * normal(*truth.shape),
        sigmas,
        mask=mask,
        background=truth,
        blend=blend,
        alpha=alpha,
        seeds=[1],
        callback=lambda level: states.append(level),
        timestep=None if form == "ve" else lambda sigma: 1000 * sigma - 1,
    )
    for level in states:
        inside, sigma = level["x"][..., 75:], float(level["sigma"])
        assert inside.mean().item() == pytest.approx(3 * (alpha(sigma) if alpha else 1), abs=5 * sigma / 100)
        assert inside.std().item() == pytest.approx(sigma, rel=0.03)


def test_a_run_that_starts_below_a_window_skips_it():
    sigmas = grid_sigmas([600, 350, 100], TABLE)
    assert sample_graded(denoiser, start() / 15, sigmas, **known(), seeds=[0, 1]).isfinite().all()


# FARM


@pytest.mark.parametrize("mode", ["x0_blend", "renoise"])
def test_farm_acts_in_the_aware_branch_alone(mode):
    fed, modelled = [], []

    def foreground(x, sigma):
        fed.append(nearest_timestep(float(sigma[0])))
        return fill(x, sigma)

    def model(x, sigma):
        modelled.append(nearest_timestep(float(sigma[0])))
        return denoiser(x, sigma)

    sigmas = grid_sigmas(graded_grid(20), TABLE)
    with_farm = sample_graded(
        model,
        start(),
        sigmas,
        **known(),
        foreground=foreground,
        foreground_mode=mode,
        foreground_until=150,
        seeds=[0, 1],
    )
    levels = [nearest_timestep(sigma) for sigma in sigmas[:-1].tolist()]
    assert fed == [t for t in levels if t >= 150 and not any(lo <= t <= hi for hi, lo in PAPER_WINDOWS)]
    closed = [t for t in fed if t <= 200]
    # Where the mask has closed, a full share leaves nothing of the model's answer, so the model is not called.
    assert modelled == [t for t in levels if mode == "renoise" or t not in closed] and closed
    without = sample_graded(denoiser, start(), sigmas, **known(), seeds=[0, 1])
    assert (with_farm - without).abs().max() > 0.1


# Bad input


@pytest.mark.parametrize(("windows", "kind"), list(product([PAPER_WINDOWS, RELEASED_WINDOWS], KINDS)))
def test_every_grid_of_5_steps_and_more_reaches_every_window(windows, kind):
    for steps, refine in product((5, 6, 7, 10, 25, 50), (0, 1, 2)):
        grid = graded_grid(steps, windows, kind=kind, refine=refine)
        assert len(grid) == steps and all(any(lo <= t <= hi for t in grid) for hi, lo in windows)


@pytest.mark.parametrize(
    ("change", "subject", "got", "rest"),
    [
        ({"windows": [(300, 400)]}, "windows", r"\(300, 400\) is reversed", "noisier end first"),
        ({"windows": [(800, 500), (600, 400)]}, "windows", r"\(800, 500\) and \(600, 400\) overlap", "make them one"),
        ({"windows": [(1200, 800)]}, "windows", r"\(1200, 800\) is out of range", "t of 0 .. 1000"),
        ({"windows": [(400, -1)]}, "windows", r"\(400, -1\) is out of range", "t of 0 .. 1000"),
        ({"windows": [(400,)]}, "windows", "not a pair", "hi, lo"),
        (
            {"windows": [(700, 699.5)]},
            "sigmas",
            r"none of the 9 levels falls into the window \(700, 699.5\)",
            "4 steps or more",
        ),
        ({"mask_schedule": MaskSchedule(20, 100)}, "mask_schedule", "it is for 100 levels", "that many timesteps"),
        ({"blend": "noise"}, "blend", "^'noise'$", "^x0 or paper; "),
        (
            {"branches": (MGA(3, branch="only", widths=(16,)), None)},
            "branches",
            "the MGA of the anomaly-only branch",
            "aware, only",
        ),
        (
            {"branches": (None, MGA(3, branch="aware", widths=(16,)))},
            "branches",
            "the MGA of the anomaly-aware branch",
            "aware, only",
        ),
        ({"branches": (aware,)}, "branches", "^1$", "aware, only"),
        ({"mask": None}, "mask and background", "one is missing", "give both"),
        ({"mask": torch.ones(2, 1, 6, 6)}, "mask", r"\(2, 1, 6, 6\) for a latent", "pool"),
        ({"eta": 2.0}, "eta", "^2$", "0 .. 1"),
        ({"foreground": fill, "foreground_strength": 2.0}, "foreground_strength", "^2$", "0 .. 1 for x0_blend"),
    ],
)
def test_bad_input_is_refused(change, subject, got, rest):
    with pytest.raises(Refused) as caught:
        sample_graded(denoiser, start(), SIGMAS, **(known() | change), seeds=[0, 1])
    error = caught.value
    assert error.subject == subject and re.search(got, error.got)
    assert re.search(rest, f"{error.accepted}; {error.remedy}")


def test_the_error_for_a_grid_too_short_names_the_steps_that_are_needed():
    with pytest.raises(ValueError, match="^steps: 3 cannot reach all of the windows .*; accepted is 4 or more"):
        graded_grid(3)
    assert len(graded_grid(4)) == 4
    with pytest.raises(ValueError, match="^steps: 2 cannot reach .*; accepted is 3 or more"):
        graded_grid(2, RELEASED_WINDOWS, refine=0)
    with pytest.raises(ValueError, match="1000 levels; accepted is at most 1000"):
        graded_grid(1001)
