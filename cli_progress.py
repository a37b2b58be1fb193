"""The command line's progress bar: one line on a terminal, nothing elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from .files.progress import duration

EVERY, KEPT = 0.2, 2.0  # seconds between two updates, and of a pass whose last line stays
WIDTH = 20


class Bar:
    """A `files.progress.Report` that draws the pass on one line of stderr, where that is a terminal.

    The line of a short pass is erased. Standard output stays free for what a command prints.
    """

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._pass: tuple[str, int] | None = None
        self._first = self._done = 0
        self._since = self._drawn = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        """Progress of the pass `what`: items done, and items in all."""
        if not of or not self._stream.isatty():
            return
        now = time.monotonic()
        if (what, of) != self._pass or done < self._done:
            self.close()
            self._pass, self._first, self._since, self._drawn = (what, of), done, now, 0.0
        self._done = done
        if now - self._drawn >= EVERY or done >= of:
            line = progress_line(what, done, of, done - self._first, now - self._since)
            self._write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
            self._drawn = now
        if done >= of:
            self.close()

    def close(self) -> None:
        """End the line, so that what follows has one of its own."""
        if self._pass:
            self._write("\n" if time.monotonic() - self._since >= KEPT else "\r\x1b[K")
        self._pass, self._done = None, 0

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def progress_line(what: str, done: int, of: int, counted: int, seconds: float) -> str:
    """what [#####...............] 123/500  2.1/s  3.0 min left, where `counted` items took `seconds`."""
    filled = WIDTH * done // of
    line = f"{what} [{'#' * filled}{'.' * (WIDTH - filled)}] {done}/{of}"
    if not counted or seconds <= 0:
        return line
    left = f"{seconds:.0f} s" if done >= of else duration((of - done) * seconds / counted)
    return f"{line}  {counted / seconds:.1f}/s  {left}"
