"""The one training loop: averaged weights, progress, a state file that survives kill -9, and the best weights."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from math import ceil, isfinite, nan
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import Refused, reason
from ..modules.tensor_file import not_finite, write_tensors

WARMUP = 100  # steps, or a tenth of a short run
SLOW = 1 / 3  # of the rate, for weights that were trained before
Loss = Callable[[int, torch.Generator], Tensor]  # loss(step, generator) -> scalar
Report = Callable[[str, int, int, float, float], None]  # phase, step, steps, mean loss, steps per second


def train(
    phase: str,
    module: nn.Module,
    loss: Loss,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    state: Path | None = None,
    run: str = "",
    average: float = 0.999,
    save_every: float = 60.0,
    report: Report | None = None,
    check_interrupt: Callable[[], None] | None = None,
    watch: Callable[[int, Mapping[str, Tensor]], bool | None] | None = None,
    kept: Mapping[str, Tensor] | None = None,
    slow: Callable[[str], bool] | None = None,
) -> None:
    """Train `module` in place and leave it with its averaged weights.

    Step i draws from a generator that depends on (seed, phase, i) alone, and `state` holds weights, averages, buffers
    and optimiser: a run that is killed at any moment and started again ends with the same weights as an unbroken one
    (on a GPU only where its kernels are deterministic).

    Args:
        phase: names the state and the random stream.
        loss: loss(step, generator) -> scalar.
        steps: optimiser steps in all; the learning rate warms up, then falls to zero by a cosine.
        state: file that is written every `save_every` seconds and at the end, and resumed from where it exists; None
            keeps nothing.
        run: text that identifies data and settings; a state of another run is refused.
        average: decay of the weight average.
        report: called about once a second.
        check_interrupt: called every step; may raise to stop.
        watch: called after every step with the steps taken and the averaged weights by name; True ends the run.
        kept: tensors by name that `watch` writes to; they are part of the state.
        slow: whether a weight, by its name, was trained before and learns at a third of the rate.

    Raises:
        Refused: `state` is damaged or belongs to another run, or loss or gradient is no longer finite; `state` then
            holds the last good step that was written.
        OSError: `state` cannot be written; found before the first step.
    """
    weights = dict(module.named_parameters())
    averages = {name: weight.detach().clone() for name, weight in weights.items()}
    parts: dict[float, list[nn.Parameter]] = {1.0: [], SLOW: []}
    for name, weight in weights.items():
        parts[SLOW if slow and slow(name) else 1.0].append(weight)
    optimiser = torch.optim.AdamW(
        [{"params": part, "share": share} for share, part in parts.items() if part],
        lr=learning_rate,
        weight_decay=1e-2,
        betas=(0.9, 0.99),
    )
    file = None if state is None else _State(state, run, module, averages, optimiser, kept or {})
    first = file.restore() if file and state.exists() else 0
    if file:  # a folder that cannot be written is better known now than after the first minute
        file.save(first)
    progress, saved = _Progress(phase, first, steps, report), time.monotonic()
    for step in range(first, steps):
        if check_interrupt:
            check_interrupt()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * group["share"] * _rate(step, steps)
        value = loss(step, _generator(seed, phase, step))
        optimiser.zero_grad()
        value.backward()
        norm = nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimiser.step()
        decay = min(average, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(averages.values()), list(weights.values()), 1 - decay)
        progress.add(step, value)
        over = bool(watch and watch(step + 1, averages)) or step + 1 == steps
        if over or (file and time.monotonic() - saved > save_every):
            progress.check(norm)
            if file:
                file.save(step + 1)
            saved = time.monotonic()
        if over:
            break
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(averages[name])


class _Progress:
    """Mean loss and rate since the last report."""

    def __init__(self, phase: str, first: int, steps: int, report: Report | None):
        self.phase, self.steps, self.report = phase, steps, report
        self.since, self.step, self.losses = time.monotonic(), first, []

    def add(self, step: int, value: Tensor) -> None:
        self.losses.append(value.detach())
        elapsed = time.monotonic() - self.since
        if elapsed < 1 and step + 1 < self.steps:
            return
        self.check()
        mean = torch.stack(self.losses).mean().item()
        if self.report:
            self.report(self.phase, step + 1, self.steps, mean, (step + 1 - self.step) / max(elapsed, 1e-9))
        self.since, self.step, self.losses = time.monotonic(), step + 1, []

    def check(self, norm: Tensor | None = None) -> None:
        """Raise Refused with the first step since the last report whose loss is not finite, or for a gradient
        whose `norm` is not: the weights after it are not finite, though its loss was."""
        losses = torch.stack(self.losses).tolist() if self.losses else []
        what, value, step = next(
            (("loss", loss, self.step + place) for place, loss in enumerate(losses) if not isfinite(loss)),
            ("gradient", 0.0 if norm is None else norm.item(), self.step + len(losses) - 1),
        )
        if not isfinite(value):
            raise Refused(
                f"{self.phase} training",
                f"the {what} is {value} at step {step}",
                remedy="try a lower learning rate, precision fp32, more images or another seed; what was written "
                "before this step is kept",
            )


def _generator(seed: int, phase: str, step: int) -> torch.Generator:
    # A prime stride per phase keeps the streams of phases and of neighbouring seeds apart.
    stream = sum(ord(c) for c in phase) * 15_485_863
    return torch.Generator().manual_seed(((seed * 1_000_003 + stream) * 10_000_019 + step) % 2**63)


def _rate(step: int, steps: int) -> float:
    fall = 0.5 + 0.5 * torch.cos(torch.tensor(torch.pi * step / steps)).item()
    return min(1.0, (step + 1) / min(WARMUP, max(1, steps // 10))) * fall


class _State:
    """The state file of a run: everything that the next step depends on."""

    def __init__(
        self,
        path: Path,
        run: str,
        module: nn.Module,
        averages: Mapping[str, Tensor],
        optimiser: torch.optim.Optimizer,
        kept: Mapping[str, Tensor],
    ):
        self.path, self.run, self.averages, self.optimiser = path, run, averages, optimiser
        self.weights = dict(module.named_parameters())
        self.others = {f"buffer.{name}": buffer for name, buffer in module.named_buffers()}
        self.others |= {f"kept.{name}": tensor for name, tensor in kept.items()}

    def save(self, step: int) -> None:
        tensors = dict(self.others)
        for name, weight in self.weights.items():
            moments = self.optimiser.state[weight]  # empty before the first step
            tensors |= {
                f"weight.{name}": weight,
                f"average.{name}": self.averages[name],
                f"first.{name}": moments.get("exp_avg", torch.zeros_like(weight)),
                f"second.{name}": moments.get("exp_avg_sq", torch.zeros_like(weight)),
            }
        write_tensors(self.path, tensors, {"run": self.run, "step": json.dumps(step)})

    @torch.no_grad()
    def restore(self) -> int:
        """Load everything; the number of steps that were taken."""
        try:
            file = safe_open(self.path, framework="pt")
        except SafetensorError as error:
            raise self._damaged(error) from error
        metadata = file.metadata() or {}
        if metadata.get("run") != self.run:
            raise Refused(
                self.path,
                "it belongs to another run (other data, split or settings)",
                remedy="finish that one with its own settings, choose another output, or delete the state file",
            )
        try:
            return self._restored(file, metadata)
        except torch.cuda.OutOfMemoryError:
            raise
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise self._damaged(error) from error

    def _restored(self, file: Any, metadata: Mapping[str, str]) -> int:
        step = int(json.loads(metadata["step"]))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        bad = not_finite({name: one for name, one in tensors.items() if name.startswith(("weight.", "average."))})
        if bad:
            raise Refused(bad, "NaN or infinity")
        for name, tensor in self.others.items():
            tensor.copy_(tensors[name])
        for name, weight in self.weights.items():
            weight.copy_(tensors[f"weight.{name}"])
            self.averages[name].copy_(tensors[f"average.{name}"])
            self.optimiser.state[weight] = {
                "step": torch.tensor(float(step)),
                "exp_avg": tensors[f"first.{name}"].to(weight),
                "exp_avg_sq": tensors[f"second.{name}"].to(weight),
            }
        return step

    def _damaged(self, error: Exception) -> Refused:
        return Refused(self.path, f"damaged training state ({reason(error)})", remedy="delete it to start over")


class Best:
    """Measures the averaged weights every so many steps and at the last, and keeps those that were best.

    kept: what a training must save to go on as if it had never stopped; copy: the module with the weights of the last
    look, in evaluation mode.
    """

    def __init__(
        self,
        module: nn.Module,
        measure: Callable[[nn.Module], Tensor],
        *,
        every: int,
        steps: int,
        sign: int,
        size: int = 1,
        patience: int = 0,
    ):
        """
        Args:
            module: what trains.
            measure: of a module in evaluation mode, `size` values; NaN is not known. A look's score is their mean.
            every, steps: steps between two looks, and of the whole training.
            sign: 1 where a high score is good, -1 where a low one is.
            patience: looks without a better score after which the training may end; 0 is never.
        """
        self.module, self.measure, self.every, self.steps = module, measure, every, steps
        self.sign, self.patience = sign, patience
        self.copy = copy.deepcopy(module).eval().requires_grad_(False)
        self.values = torch.full((ceil(steps / every), size), nan, dtype=torch.float64)
        self.kept = {"curve": self.values}
        self.kept |= {f"best.{name}": value for name, value in copy.deepcopy(module.state_dict()).items()}

    def due(self, step: int) -> bool:
        """Whether a look is taken after `step` steps."""
        return step % self.every == 0 or step == self.steps

    def look(self, step: int, averages: Mapping[str, Tensor]) -> bool:
        """A training's `watch`: whether it may end, since the score has not risen for `patience` looks."""
        if not self.due(step):
            return False
        weights = self.module.state_dict() | dict(averages)  # buffers are not averaged
        self.copy.load_state_dict(weights)
        place = ceil(step / self.every) - 1
        self.values[place] = self.measure(self.copy)
        best = self._place()
        if place == best:
            for name, weight in weights.items():
                self.kept[f"best.{name}"].copy_(weight)
        return best is not None and 0 < self.patience <= place - best

    @property
    def points(self) -> list[tuple[int, list[float]]]:
        """(step, values) of every look that knew one."""
        steps = [min((place + 1) * self.every, self.steps) for place in range(len(self.values))]
        return [point for point in zip(steps, self.values.tolist(), strict=True) if any(v == v for v in point[1])]

    @property
    def best(self) -> tuple[int, float] | None:
        """(step, score) of the first look with the best score; None before any."""
        place = self._place()
        return None if place is None else (min((place + 1) * self.every, self.steps), self._scores()[place])

    def restore(self) -> None:
        """Give the module its best weights; the present ones stay where no look knew a score."""
        if self.best is not None:
            self.module.load_state_dict(
                {name[len("best.") :]: value for name, value in self.kept.items() if name.startswith("best.")}
            )

    def _scores(self) -> list[float]:
        return self.values.nanmean(1).tolist()

    def _place(self) -> int | None:
        """The first look with the best score."""
        scores = self._scores()
        known = (place for place, score in enumerate(scores) if score == score)
        return max(known, key=lambda place: self.sign * scores[place], default=None)


def mixed(precision: str, device: torch.device | str) -> torch.autocast:
    """The context to compute a loss in. `auto` is bf16 on a GPU and fp32 on a CPU, where `bf16` pays only on
    processors that multiply it natively."""
    kind = torch.device(device).type
    bf16 = precision == "bf16" or (precision == "auto" and kind == "cuda")
    return torch.autocast(kind, torch.bfloat16, enabled=bf16)


def balanced(error: Tensor, mask: Tensor) -> Tensor:
    """Mean over everything plus mean over the masks, so that a 10-pixel defect weighs as much as its crop."""
    error = error.mean(1, keepdim=True)
    inside = (error * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp_min(1)
    return error.mean() + inside.mean()
