"""How often a MODEL is run, whatever sampler runs it."""

from __future__ import annotations

from collections.abc import Callable

from comfy.patcher_extension import WrappersMP
from torch import Tensor

KEY = "sias_counting"


def counted(model, rows: list[int]):
    """A clone of a MODEL that adds to `rows`, at every call, the number of items in the call: positive and negative
    conditioning are items of their own."""

    def count(run: Callable[..., Tensor], x: Tensor, *args, **kwargs) -> Tensor:
        rows.append(len(x))
        return run(x, *args, **kwargs)

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, count)
    return clone
