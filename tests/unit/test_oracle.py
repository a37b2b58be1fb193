"""The oracle benchmark: its model is exact, its measure is a distance, its samplers sample, its report is complete."""

import json
import math
import runpy
import sys
from pathlib import Path

import pytest
import torch
from anomaly_synthesis.benchmarks.oracle.compare import goals, run_world, summarise
from anomaly_synthesis.benchmarks.oracle.measures import Target, directions, projected, sliced_w2
from anomaly_synthesis.benchmarks.oracle.peers import (
    FOREGROUND_UNTIL,
    NEED_DIFFUSERS,
    PEERS,
    TABLE,
    Guide,
    euler_ancestral,
    karras_levels,
    sampler_of,
    uniform_levels,
)
from anomaly_synthesis.benchmarks.oracle.worlds import SPECS, Mixture, Spec, World, make_world
from anomaly_synthesis.samplers.schedule import nearest_timestep

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "oracle.py"
TINY = Spec(masked=2, background=1, anomalies=2)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def mixture(dimensions, modes=3, seed=0):
    drawn = torch.randn(modes, dimensions, dimensions, generator=seeded(seed), dtype=torch.float64)
    covariances = 0.1 * drawn @ drawn.mT + 0.02 * torch.eye(dimensions)
    means = torch.randn(modes, dimensions, generator=seeded(seed + 1), dtype=torch.float64)
    return Mixture(double([0.6, 0.3, 0.1])[:modes], means, covariances)


# The model


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
def test_the_denoiser_is_the_integral_over_x0(sigma):
    prior = mixture(1)
    x = torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None]
    grid = torch.linspace(-8, 8, 40001, dtype=torch.float64)
    spread = prior.covariances[:, 0]
    density = (prior.weights[:, None] / spread.sqrt() * (-((grid - prior.means) ** 2) / (2 * spread)).exp()).sum(0)
    posterior = density * (-((x - grid) ** 2) / (2 * sigma**2)).exp()
    expected = (posterior * grid).sum(1) / posterior.sum(1)
    assert torch.allclose(prior.posterior_mean(x, sigma)[:, 0], expected, atol=1e-8)


def test_the_denoiser_is_the_weighted_mean_of_exact_samples_in_two_dimensions():
    prior, sigma = mixture(2), 0.7
    x0, _ = prior.draw(400_000, seeded(3))
    for x in double([[0.0, 0.0], [1.0, -0.5], [-1.5, 1.0]]):
        weights = (-((x - x0) ** 2).sum(1) / (2 * sigma**2)).softmax(0)
        assert torch.allclose(prior.posterior_mean(x[None], sigma)[0], weights @ x0, atol=0.01)


def test_the_denoiser_satisfies_tweedies_formula():
    """E[x0 | x] = x + sigma^2 grad log p(x; sigma)."""
    prior, sigma = make_world("many", 0).prior, 0.6
    x = torch.randn(50, prior.means.shape[1], generator=seeded(), dtype=torch.float64, requires_grad=True)
    score = torch.autograd.grad(prior.log_density(x, sigma).sum(), x)[0]
    assert torch.allclose(prior.posterior_mean(x.detach(), sigma), x.detach() + sigma**2 * score, atol=1e-9)


def test_conditioning_is_bayes_rule():
    prior, known = mixture(3), double([0.4])
    given = prior.conditioned(known)
    x = torch.randn(20, 2, generator=seeded(), dtype=torch.float64)
    far = Mixture(prior.weights, prior.means[:, 2:], prior.covariances[:, 2:, 2:])
    joint = prior.log_density(torch.cat([x, known.expand(20, 1)], 1))
    assert torch.allclose(given.log_density(x), joint - far.log_density(known[None]), atol=1e-10)


def test_exact_samples_have_the_moments_of_the_mixture():
    prior = mixture(2)
    x, modes = prior.draw(200_000, seeded(1))
    assert torch.allclose(x.mean(0), prior.weights @ prior.means, atol=0.01)
    assert torch.allclose(x[modes == 1].T.cov(), prior.covariances[1], atol=0.01)


# The worlds


@pytest.mark.parametrize("name", SPECS)
def test_a_world_is_what_its_spec_says_and_the_same_again(name):
    spec, world, again = SPECS[name], make_world(name, 4), make_world(name, 4)
    assert torch.equal(world.prior.means, again.prior.means) and torch.equal(world.background, again.background)
    assert torch.equal(world.foreground.means, again.foreground.means)
    assert not torch.equal(world.prior.means, make_world(name, 5).prior.means)
    assert world.prior.means.shape == (spec.anomalies + 1, spec.masked + spec.background)
    assert world.masked == spec.masked and len(world.background) == spec.background
    assert world.prior.weights[0] == spec.normal and world.prior.weights.sum() == pytest.approx(1)
    # A defect leaves the distribution of the background as it was, so that a background carries no information on the
    # mode.
    assert torch.allclose(world.conditional.weights, world.prior.weights)


def test_the_foreground_is_exact_but_where_it_was_fitted():
    for name, spec in SPECS.items():
        world = make_world(name, 0)
        exact = world.conditional.restricted(1)
        assert torch.equal(world.foreground.means, exact.means) == (spec.fitted == 0)
        assert torch.linalg.eigvalsh(world.foreground.covariances).min() > 0
        # The standard error of a mean of 40 / 3 samples is a quarter of the standard deviation.
        assert (world.foreground.means - exact.means).abs().max() < 0.4


# The measure


def test_sliced_w2_of_a_sample_with_itself_is_0_and_with_a_shifted_one_the_shift():
    along = directions(3)
    x = torch.randn(500, 3, generator=seeded(), dtype=torch.float64)
    shift = double([0.3, -0.2, 0.1])
    sorted_x = projected(x, along)
    assert sliced_w2(sorted_x, sorted_x) == 0
    expected = (along @ shift).square().mean().sqrt().item()
    assert sliced_w2(projected(x + shift, along), sorted_x) == pytest.approx(expected)
    assert sliced_w2(projected(x[:1] * 0 + shift, along), projected(x * 0, along)) == pytest.approx(expected)


def test_sliced_w2_of_unequal_counts_falls_to_0():
    along = directions(1)
    fine = projected(torch.linspace(-1, 1, 4000, dtype=torch.float64)[:, None], along)
    coarse = projected(torch.linspace(-1, 1, 500, dtype=torch.float64)[:, None], along)
    assert sliced_w2(coarse, fine) < 0.002


@pytest.mark.slow
def test_exact_samples_measure_as_exact_and_altered_ones_do_not():
    world = make_world("tiny", 0, TINY)
    target = Target(world, blended=True, samples=20_000)
    x, _ = target.mixture.draw(20_000, seeded(9))
    exact = target.measure(x)
    assert exact["w2_modes"] < 0.02 and exact["mode_error"] < 0.02 and exact["without_defect"] < 0.005
    assert exact["variances"] == pytest.approx([1, 1], abs=0.05)
    normal = world.conditional.draw_from(torch.zeros(20_000, dtype=torch.long), seeded(9))
    altered = target.measure(torch.cat([x, normal]))
    assert altered["without_defect"] == pytest.approx(0.5, abs=0.01) and altered["w2"] > 5 * exact["w2"]
    collapsed = target.measure(target.mixture.means[torch.ones(500, dtype=torch.long)])
    assert collapsed["variances"] == [None, pytest.approx(0)] and collapsed["w2_modes"] > 5 * exact["w2_modes"]


# The samplers


def one_mode(dimensions=2):
    prior = Mixture(double([1.0]), double([[0.8, -0.5]]), double([[[0.3, 0.1], [0.1, 0.2]]]))
    return World("one", 0, prior, prior.means.new_zeros(0), prior)


def test_levels():
    for levels in (uniform_levels(10), karras_levels(10)):
        assert len(levels) == 11 and levels[-1] == 0 and levels == sorted(levels, reverse=True)
        assert levels[0] == pytest.approx(float(TABLE[-1])) and levels[-2] == pytest.approx(float(TABLE[0]))
    assert uniform_levels(1000)[:-1] == TABLE.flip(0).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_sampler_of_many_steps_has_the_mean_and_covariance_of_one_gaussian(name):
    if name in NEED_DIFFUSERS:
        pytest.importorskip("diffusers")
    world, steps = one_mode(), 200
    guide = Guide(world, False, 10_000, seed=1)
    x = sampler_of(name)(guide, steps).flatten(1)
    assert guide.calls == {"denoiser": steps, "foreground": 0}
    # What remains of the mean of the first state, which samplers take for pure noise, is mean / sigma_max.
    assert torch.allclose(x.mean(0), world.prior.means[0], atol=0.04)
    assert torch.allclose(x.T.cov(), world.prior.covariances[0], rtol=0.08, atol=0.01)


def test_ancestral_euler_on_all_levels_is_ddpm_with_its_variance():
    world = one_mode()
    x = euler_ancestral(Guide(world, False, 5000, seed=1), 1000).flatten(1)
    assert torch.allclose(x.mean(0), world.prior.means[0], atol=0.03)
    assert torch.allclose(x.T.cov(), world.prior.covariances[0], atol=0.02)


@pytest.mark.parametrize("blended", [False, True])
@pytest.mark.parametrize("name", PEERS)
def test_every_sampler_has_the_same_start_keeps_the_background_and_counts_its_calls(name, blended):
    if name in NEED_DIFFUSERS:
        pytest.importorskip("diffusers")
    world = make_world("tiny", 0, TINY)
    guide, other = Guide(world, blended, 30, seed=2), Guide(world, blended, 30, seed=2)
    assert torch.equal(guide.start, other.start) and not torch.equal(guide.start, Guide(world, False, 30, 3).start)
    x = sampler_of(name)(guide, 8).flatten(1)
    assert torch.allclose(x[:, world.masked :], world.background.expand(30, 1), atol=1e-6)
    assert torch.equal(x, sampler_of(name)(other, 8).flatten(1)) and guide.calls == other.calls
    denoiser, foreground = guide.calls["denoiser"], guide.calls["foreground"]
    assert (foreground > 0) == blended
    # FAST's own setting noises the foreground back into the state, and calls the denoiser at every level too.
    assert denoiser == 8 if name == "aias:paper" else denoiser + foreground == 8


def test_the_foreground_replaces_the_denoiser_until_its_last_t():
    world = make_world("tiny", 0, TINY)
    guide = Guide(world, True, 5, seed=0)
    for sigma in TABLE[[999, 101, 100, 99, 0]].tolist():
        before = dict(guide.calls)
        guide.estimate(guide.start, sigma)
        expected = "foreground" if nearest_timestep(sigma) >= FOREGROUND_UNTIL else "denoiser"
        assert guide.calls[expected] == before[expected] + 1


def test_diffusers_ddim_is_ours():
    """Their step, on our levels; a check that VE and VP states and the levels are read as they are meant."""
    diffusers = pytest.importorskip("diffusers")
    world, steps = one_mode(), 10
    scheduler = diffusers.DDIMScheduler(
        1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, prediction_type="sample", timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    levels = TABLE[scheduler.timesteps].tolist() + [0.0]
    guide = Guide(world, False, 50, seed=0)
    x, ours = guide.start, guide.start
    for t, s, e in zip(scheduler.timesteps, levels[:-1], levels[1:], strict=True):
        vp = scheduler.step(guide.estimate(x, s), t, x / math.sqrt(1 + s**2)).prev_sample
        x = vp * math.sqrt(1 + e**2)
        x0 = guide.estimate(ours, s)
        ours = x0 + e / s * (ours - x0)
    assert torch.allclose(x, ours, atol=1e-4)


def test_presets_take_changes_and_unknown_names_are_refused():
    world = make_world("tiny", 0, TINY)

    def run(name):
        return sampler_of(name)(Guide(world, True, 10, seed=0), 8)

    assert torch.equal(run("aias:fast,eta=0.0"), run("aias:fast"))
    assert not torch.equal(run("aias:fast,kind=lambda"), run("aias:fast"))
    with pytest.raises(ValueError, match="unknown peer 'heun'"):
        sampler_of("heun")
    with pytest.raises(ValueError, match="^preset: 'slow'"):
        sampler_of("aias:slow,eta=0.5")


# The report


def test_the_summary_is_relative_to_ddpm():
    world = make_world("tiny", 0, TINY)
    rows = run_world("x0_blend", world, ["ddim"], [5, 20], range(3), 500, ddpm_steps=50)
    assert len(rows) == 3 * 3
    lines = {(line["peer"], line["steps"]): line for line in summarise(rows)}
    reference = lines["ddpm", 50]
    assert reference["ratio"] == 1 and reference["ratio_se"] == 0 and reference["variance"] == pytest.approx(1)
    pairs = [
        (row["w2_modes"], next(r["w2_modes"] for r in rows if r["peer"] == "ddpm" and r["seed"] == row["seed"]))
        for row in rows
        if row["peer"] == "ddim" and row["steps"] == 5
    ]
    expected = math.exp(sum(math.log(made / ddpm) for made, ddpm in pairs) / 3)
    assert lines["ddim", 5]["ratio"] == pytest.approx(expected) and lines["ddim", 5]["ratio_se"] > 0


def test_goals_are_judged_by_their_limits():
    line = {"table": "x0_blend", "ratio_se": 0.05, "without_defect": 0.001, "variance": 0.93}
    fast = {**line, "peer": "aias:fast", "steps": 20, "ratio": 1.08}
    recommended = {**line, "peer": "aias:recommended", "steps": 20, "ratio": 1.2}
    assert [goal["holds"] for goal in goals([fast, recommended])] == [True, True, False, False]
    assert [goal["holds"] for goal in goals([{**fast, "ratio": 1.12}])] == [False, True, False]
    assert goals([{**fast, "table": "plain"}]) == []


@pytest.mark.slow
def test_the_quick_benchmark_runs_and_its_report_is_whole(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    out, plot = tmp_path / "oracle.json", tmp_path / "oracle.png"
    arguments = ["--quick", "--samples", "200", "--ddpm-steps", "50", "--out", str(out), "--plot", str(plot)]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    report = json.loads(out.read_text())
    assert set(report) == {"settings", "summary", "goals", "rows"} and report["goals"]
    assert report["settings"]["samples"] == 200 and report["settings"]["nfe"] == [10]
    peers = report["settings"]["peers"]
    assert set(PEERS) - set(NEED_DIFFUSERS) <= set(peers)
    # 3 worlds plain and 2 with a mask, 2 seeds.
    assert len(report["rows"]) == 5 * 2 * (len(peers) + 1) and len(report["summary"]) == 2 * (len(peers) + 1)
    figures = {"w2_modes", "w2", "without_defect", "mode_error"}
    keys = {"table", "world", "world_seed", "peer", "steps", "seed", "denoiser_calls", "foreground_calls", "variances"}
    assert all(set(row) == keys | figures for row in report["rows"])
    means = figures | {"ratio", "ratio_plain", "variance"}
    keys = {"table", "peer", "steps", "denoiser_calls", "foreground_calls", "ratio_worst", "variance_worst"}
    assert all(set(line) == keys | means | {f"{name}_se" for name in means} for line in report["summary"])
    assert plot.stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "aias:fast | 10" in printed and "goal | value" in printed


def test_without_diffusers_its_peers_are_left_out_with_a_message(monkeypatch, capsys):
    script = runpy.run_path(str(SCRIPT))
    monkeypatch.setattr(script["importlib"].util, "find_spec", lambda name: None)
    assert script["_present"](["ddim", "dpmpp_2m"]) == ["ddim"]
    assert "LEFT OUT" in capsys.readouterr().out
