"""The few-step STAGE benchmark: its branches are exact, its report is complete, ten steps come near to a thousand."""

import argparse
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from anomaly_synthesis.benchmarks import stage_oracle
from anomaly_synthesis.benchmarks.oracle.worlds import make_world
from anomaly_synthesis.samplers.schedule import ldm_sigmas

SCRIPT = Path(stage_oracle.__file__)


def test_the_heads_are_the_branches_exact_denoisers():
    world, t = make_world("small", 0), torch.tensor([400.0, 400.0])
    branches, sigma, m = stage_oracle.Branches(world), float(ldm_sigmas()[400]), world.masked
    x = torch.randn(2, 1, 1, 8, dtype=torch.float64)
    eps = (x - branches.model(x, torch.full((2,), sigma))) / sigma
    anomalous = world.prior.restricted(1)
    expected = anomalous.posterior_mean(x.flatten(1), sigma)
    assert torch.allclose((x - sigma * branches.aware(eps, None, t)).flatten(1), expected)
    moved = eps.clone()
    moved[..., m:] += 1  # the anomaly-only branch does not see the background
    made, other = (x - sigma * branches.only(noise, None, t) for noise in (eps, moved))
    assert torch.equal(made[..., :m], other[..., :m]) and torch.allclose(made[..., m:], torch.zeros(1).double())
    draws, _ = anomalous.draw(200_000, torch.Generator().manual_seed(0))
    noisy = draws[:, :m] + sigma * torch.randn(200_000, m, generator=torch.Generator().manual_seed(1)).double()
    wrong = draws[:, :m] - branches.marginal.posterior_mean(noisy, sigma)
    assert (wrong.T @ noisy / len(noisy)).abs().max() < 0.02  # a posterior mean's error is orthogonal to what it saw


@pytest.mark.slow
def test_few_steps_come_near_to_a_thousand():
    """A small sample of the benchmark's goals: 1.1 at 50 calls, 1.5 at 10."""
    options = argparse.Namespace(samples=600, seeds=1, settings=["recommended,eta=1"], nfe=[10, 50], parts="stage")
    lines = stage_oracle.summarise(stage_oracle.rows_of(make_world("many", 0), options))
    assert [(line["steps"], line["calls"]) for line in lines] == [(1000, 1000), (10, 10), (50, 50)]
    assert lines[0]["ratio"] == 1 and lines[1]["ratio"] < 1.5 and lines[2]["ratio"] < 1.15


@pytest.mark.slow
def test_the_script_writes_its_report(tmp_path, monkeypatch, capsys):
    out = tmp_path / "report.json"
    command = "stage_oracle.py --samples 60 --seeds 2 --nfe 10 --worlds small --settings fast,eta=0.5,correct=false"
    monkeypatch.setattr(sys, "argv", [*command.split(), "--out", str(out)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    report, printed = json.loads(out.read_text()), capsys.readouterr().out
    assert len(report["rows"]) == 2 * 2 and report["summary"][1]["calls"] == 10
    assert "fast,eta=0.5,correct=false | 10 (10)" in printed and ("holds" in printed or "MISSED" in printed)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="^preset: "):
        stage_oracle.sample(make_world("small", 0), "slow", 10, 5, 0, "stage")
