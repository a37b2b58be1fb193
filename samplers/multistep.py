"""Linear multistep rules: which mix of the last two x0 estimates represents x0 along a step.

In w = alpha / sigma the probability-flow ODE is d(x / sigma) = x0hat dw, so that a step from w_s to w_e needs the mean
of x0hat over it. A clock is a function y(w) in which x0hat is taken to be linear: it gives y at a level, and the mean
of y over a step.
"""

from __future__ import annotations

from math import inf, isinf, log, sqrt

from torch import Tensor


class LogSNR:
    """y = log w; the mean is taken at the middle of the step (DPM-Solver++(2M), Lu et al. 2022)."""

    def at(self, w: float) -> float:
        return log(w) if w > 0 else -inf

    def mean(self, w_s: float, w_e: float) -> float:
        return (self.at(w_s) + self.at(w_e)) / 2


class Gaussian:
    """y = s w / sqrt(1 + (s w)^2), the share of a level's spread that is data when those have standard deviation s.

    Along a trajectory of Gaussian data x0hat is exactly linear in y, so that steps of any length are exact for them.
    For other data y is smooth where x0hat is: in w at pure noise (w = 0), and in sigma^2 at no noise (y = 1).
    """

    def __init__(self, std: float):
        self.std = std

    def at(self, w: float) -> float:
        return self.std * w / sqrt(1 + (self.std * w) ** 2)

    def mean(self, w_s: float, w_e: float) -> float:
        """The integral of y over dw is sqrt(1 + (s w)^2) / s."""
        s, e = self.std * w_s, self.std * w_e
        return (e + s) / (sqrt(1 + e**2) + sqrt(1 + s**2))


class History:
    """The last estimate, from which order 2 and the corrector take the slope of x0hat in the clock's y."""

    def __init__(self, clock: LogSNR | Gaussian, order: int):
        self.clock, self.order = clock, order
        self.forget()

    def forget(self) -> None:
        self.x0 = self.w = self.w_s = None

    def keep(self, x0: Tensor, w: float, w_s: float) -> None:
        """The estimate at `w`, from where a step starts; for that step the state may count as another, `w_s`: pure
        noise is 0, whatever level the model was given."""
        self.x0, self.w, self.w_s = x0, w, w_s

    def predicted(self, x0: Tensor, w: float, w_e: float) -> Tensor:
        """x0 for the step from `w`, where its estimate is `x0`, to `w_e`; that estimate where there is no other yet.

        The last step (w_e infinite) takes x0 from the middle of one more step of the same ratio, near the model's
        lowest level; on the clock of log w, which has no end, and after pure noise (w = 0), it takes the estimate.
        """
        if self.order == 1 or self.x0 is None:
            return x0
        if isinf(w_e):
            no_ratio = isinstance(self.clock, LogSNR) or self.w == 0
            return x0 if no_ratio else self._line(x0, w, self.clock.at(w * sqrt(w / self.w)))
        return self._line(x0, w, self.clock.mean(w, w_e))

    def corrected(self, x0: Tensor, w: float) -> Tensor:
        """x0 for the step that led to `w`, now that its estimate there is `x0`."""
        return self._line(x0, w, self.clock.mean(self.w_s, w))

    def _line(self, x0: Tensor, w: float, y: float) -> Tensor:
        """The line through both estimates, at y."""
        y_now, y_last = self.clock.at(w), self.clock.at(self.w)
        return x0 if y_now == y_last else x0 + ((y - y_now) / (y_now - y_last)) * (x0 - self.x0)
