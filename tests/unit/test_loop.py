"""A killed and resumed training equals an uninterrupted one; states of other runs are refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from anomaly_synthesis.training.loop import train
from safetensors import safe_open
from safetensors.torch import save_file

from .refusals import refused

STEPS = 40


def _run(state, steps=STEPS, run="a run", stop_at=None, seed=0):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))
    seen = []

    def loss(step, generator):
        seen.append(step)
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(16, 6, generator=generator)
        return (module(x) - x[:, :1].sin()).square().mean()

    train("toy", module, loss, steps=steps, learning_rate=1e-2, seed=seed, state=state, run=run, save_every=0)
    return module, seen


def _equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_an_interrupted_run_resumes_to_the_same_weights(tmp_path):
    whole, _ = _run(tmp_path / "whole")
    for stop in (7, 23, 24):
        with pytest.raises(KeyboardInterrupt):
            _run(tmp_path / "broken", stop_at=stop)
    resumed, seen = _run(tmp_path / "broken")
    assert seen[0] == 24, "the resumed run must not start over"
    assert _equal(whole, resumed)


def test_training_learns_and_leaves_averaged_weights(tmp_path):
    module, _ = _run(tmp_path / "state", steps=300)
    x = torch.randn(500, 6, generator=torch.Generator().manual_seed(1))
    assert (module(x) - x[:, :1].sin()).square().mean() < 0.3 * x[:, 0].sin().square().mean()


def test_another_seed_gives_other_weights(tmp_path):
    assert not _equal(_run(tmp_path / "a")[0], _run(tmp_path / "b", seed=1)[0])


def test_a_state_of_another_run_is_refused(tmp_path):
    _run(tmp_path / "state")
    with refused(subject="state$", got="another run", remedy="delete the state file"):
        _run(tmp_path / "state", run="other settings")


@pytest.mark.parametrize("name", ["weight.0.weight", "average.2.bias"])
@pytest.mark.parametrize("change", ["lost", "of another shape", "no numbers"])
def test_a_state_that_is_not_whole_is_refused_with_what_to_do(tmp_path, name, change):
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "state", stop_at=7)
    with safe_open(tmp_path / "state", framework="pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    changed = {"lost": None, "of another shape": torch.zeros(9, 9), "no numbers": tensors[name] * torch.nan}[change]
    tensors |= {name: changed}
    save_file({key: one for key, one in tensors.items() if one is not None}, tmp_path / "state", metadata)
    with pytest.raises(ValueError, match=r"state: damaged training state \(.+\); delete it to start over"):
        _run(tmp_path / "state")


@pytest.mark.parametrize("step", ["", "[3]", "x", None])
def test_a_state_without_its_step_is_refused(tmp_path, step):
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "state", stop_at=7)
    with safe_open(tmp_path / "state", framework="pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    metadata = {key: one for key, one in (metadata | {"step": step}).items() if one is not None}
    save_file(tensors, tmp_path / "state", metadata)
    with pytest.raises(ValueError, match=r"state: damaged training state \(.+\); delete it to start over"):
        _run(tmp_path / "state")


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    module = torch.nn.Linear(1, 1)
    with refused(subject="^toy training$", got="loss is nan"):
        train(
            "toy",
            module,
            lambda step, generator: module.weight.sum() * float("nan"),
            steps=3,
            learning_rate=1.0,
            seed=0,
            state=tmp_path / "state",
            run="r",
        )


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_the_state_before_a_non_finite_loss_stays(tmp_path, broken):
    """The loss breaks at step 5 of a run that writes every step: the state holds the five good steps and can resume."""
    state, module = tmp_path / "state", torch.nn.Linear(2, 1)

    def loss(step, generator):
        value = module(torch.ones(1, 2)).square().sum()
        if step == 5 and broken == "loss":
            return value * float("nan")
        return value + (0 * module.weight).abs().sqrt().sum() if step == 5 else value  # its slope at 0 is infinite

    with refused(got=f"{broken} is nan at step 5$", remedy="try .* before this step is kept"):
        train("toy", module, loss, steps=9, learning_rate=1e-2, seed=0, state=state, run="r", save_every=0)
    with safe_open(state, "pt") as file:
        assert file.metadata()["step"] == "5"
        assert all(file.get_tensor(name).isfinite().all() for name in file.keys())  # noqa: SIM118
    again = torch.nn.Linear(2, 1)
    train(
        "toy",
        again,
        lambda step, generator: again(torch.ones(1, 2)).square().sum(),
        steps=9,
        learning_rate=1e-2,
        seed=0,
        state=state,
        run="r",
    )
    assert all(weight.isfinite().all() for weight in again.parameters())


def test_the_first_bad_step_is_named_where_nothing_was_written():
    module = torch.nn.Linear(1, 1)
    with refused(got="loss is nan at step 3$"):
        train(
            "toy",
            module,
            lambda step, generator: module.weight.sum() * (float("nan") if step >= 3 else 1),
            steps=7,
            learning_rate=1e-3,
            seed=0,
        )


_TRAIN = """
import sys
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.split import load_split, part_of
from anomaly_synthesis.modules.base_file import save_base
from anomaly_synthesis.training.base import BaseTraining, Watch, train_base
data, split, out = sys.argv[1:]
samples = read_mvtec(data)
settings = BaseTraining(resolution=32, autoencoder_steps=16, steps=16, batch=2)
base = train_base(part_of(load_split(split), samples, "train"), settings, out, watch=Watch(save_every=0))
save_base(out, base, {})
"""


def _start(script, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-P", script, *map(str, arguments)], env=environment)


@pytest.mark.slow
def test_kill_9_three_times_and_resume_gives_the_same_base_file(tmp_path, surfaces, split):
    from anomaly_synthesis.datasets.split import save_split
    from anomaly_synthesis.training.base import state_path

    script = tmp_path / "train.py"
    script.write_text(_TRAIN)
    save_split(split, tmp_path / "split.json")
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    assert _start(script, surfaces, tmp_path / "split.json", whole).wait(120) == 0
    for phase, writes in (("autoencoder", 4), ("autoencoder", 3), ("unet", 5)):
        process = _start(script, surfaces, tmp_path / "split.json", broken)
        _wait_for_writes(state_path(broken, phase), writes)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert _start(script, surfaces, tmp_path / "split.json", broken).wait(120) == 0
    assert whole.read_bytes() == broken.read_bytes()


def _wait_for_writes(state: Path, writes: int) -> None:
    seen, deadline = set(), time.monotonic() + 60
    while len(seen) <= writes:
        assert time.monotonic() < deadline, f"{state.name} was not written {writes} times within a minute"
        if state.exists():
            seen.add(state.stat().st_mtime_ns)
        time.sleep(0.001)
