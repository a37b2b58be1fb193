"""The parts of STAGE, switched on one after the other: the paper's six ablations (STAGE, Sec. IV-C), by name."""

from __future__ import annotations

from ..choices import STAGES
from ..errors import Refused
from .graded import PAPER_SCHEDULE
from .graded_windows import PAPER_WINDOWS

_GD, _EMA = {"windows": PAPER_WINDOWS}, {"mask_schedule": PAPER_SCHEDULE}
_OFF = {"windows": (), "mask_schedule": None, "aif": False, "blend": "x0"}
_PRESETS: dict[str, tuple[bool, dict]] = {
    "baseline": (False, _OFF),
    "mga": (True, _OFF),
    "mga-aif": (True, _OFF | {"aif": True}),
    "mga-aif-gd": (True, _OFF | {"aif": True} | _GD),
    "mga-aif-ema": (True, _OFF | {"aif": True} | _EMA),
    "stage": (True, _OFF | {"aif": True} | _GD | _EMA),
    # All of it with the paper's average of noisy states, which takes the noise out of the background: to reproduce.
    "stage-paper": (True, _OFF | {"aif": True, "blend": "paper"} | _GD | _EMA),
}


def stage_preset(name: str) -> tuple[bool, dict]:
    """Whether the MGA heads work, and the keywords of `sample_graded` that switch the other parts.

    Args:
        name: one of choices.STAGES.

    Raises:
        Refused: unknown name.
    """
    if name not in _PRESETS:
        raise Refused("preset", repr(name), f"one of {', '.join(STAGES)}")
    heads, options = _PRESETS[name]
    return heads, dict(options)


def with_stage(sampler_options: dict, parts: dict) -> dict:
    """Keywords of `sample_graded` from a sampler's preset and STAGE's parts.

    Where EMA or the windows work and the preset has noise at all, eta is 1: what an estimate aims at changes along the
    run, and only noise forgets the former aim (benchmarks/README.md, "Few-step STAGE").
    """
    aims_move = parts["windows"] or parts["mask_schedule"]
    eta = {"eta": 1.0} if aims_move and sampler_options["eta"] else {}
    return sampler_options | parts | eta
