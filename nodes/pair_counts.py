"""What became of a batch in Save Pairs, in words for the history and the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass
class Counts:
    """What became of a batch's pairs; foreign: differ from their normal image outside the mask; parted: some pieces of
    the mask show no defect."""

    saved: int = 0
    there: int = 0
    blank: int = 0
    hidden: int = 0
    foreign: int = 0
    parted: int = 0

    def told(self, folder: str, unscored: bool) -> tuple[str, ...]:
        """For the history and the log: the counts in one line, then a line for each that needs a word."""
        words = [f"{self.saved} saved"]
        for count, what in ((self.there, "already there"), (self.blank, "blank"), (self.hidden, "not visible")):
            words += [f"{count} {what}"] if count else []
        notes = {
            f"blank: the image equals its normal image inside the mask, so the mask would be a wrong label; look for a "
            f"sampler or Compose Pair that is bypassed. {folder}/dropped.jsonl lists such pairs": self.blank,
            f"not visible: left out, {folder}/dropped.jsonl lists them; not_visible keep saves them": self.hidden,
            "not_visible is drop, but scores is open: only blank pairs can be left out": unscored,
            f"{self.foreign} differ from their normal image outside the mask, too: connect Compose Pair's image, and "
            "the normal image and mask that it got": self.foreign,
            f"{self.parted} show no defect in some pieces of their mask; see unchanged_pieces in the "
            "manifest": self.parted,
        }
        text = ", ".join(words), *(note for note, count in notes.items() if count)
        (_log.warning if self.blank else _log.info)("Save Pairs: %s.", ". ".join(text))
        return text
