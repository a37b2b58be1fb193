"""Writes what is fetched into the output folder, in the items' order, each once."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import logging
from pathlib import Path

from ..datasets.pairs import MANIFEST, PairWriter, manifest_lines
from ..datasets.untrusted_json import JsonValue
from .job import Job
from .results import ItemFailed, ItemMissing, Pair, Spool, check
from .table import FETCHED, WRITTEN, Row, Table

_AT_HAND = 4
_SMALL = 16 << 20  # bytes of pixels that are kept at hand
_OWN_FAULT = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)  # of an item's names; all else is the disk's
_log = logging.getLogger(__name__)


def items_of(out: Path) -> dict[int, JsonValue]:
    """The manifest's lines by their items. Raises ValueError for a line without one."""
    found: dict[int, JsonValue] = {}
    for number, line in enumerate(manifest_lines(out), 1):
        value = JsonValue(line, f"{out / MANIFEST}, line {number}")
        item = value.at("item").of(int)
        if not 0 <= item < 2**63:
            raise value.at("item").wrong("an item's number")
        found[item] = value
    return found


class Writer:
    """The output folder of a job and the spool before it.

    The folder's manifest is the truth: a pair of it is never written again, whatever the table says, and one that it
    does not have is made again. Pairs are in the order of the items, without those that were set aside.
    """

    def __init__(self, job: Job, workflow: dict, table: Table, files_of) -> None:
        """
        Args:
            workflow: the workflow file's JSON; another one would be another run.
            files_of: item -> its results that are files of this machine, by name.

        Raises:
            ValueError: the folder holds something else, or a run of other settings; OSError.
        """
        self._job, self._table, self._files_of = job, table, files_of
        digest = hashlib.sha256(json.dumps(workflow, sort_keys=True).encode()).hexdigest()[:16]
        self.pairs = PairWriter(job.out, {"made_by": "batch", "workflow": digest, **job.settings()}, resume=True)
        self.spool = Spool(job.folder / "spool")
        self.more, self.closing = asyncio.Event(), False
        self._at_hand: dict[int, Pair] = {}
        self._reconcile()

    def _reconcile(self) -> None:
        """Make table, folder and spool agree after whatever stopped the runner before."""
        there = set(items_of(self._job.out)) if self.pairs.done else set()
        self._table.found_written(there)
        self._table.again([row.item for row in self._table.rows(WRITTEN) if row.item not in there])
        fetched = {row.item for row in self._table.rows(FETCHED)}
        self.spool.keep_only(fetched)

    async def run(self) -> None:
        """Write what is due whenever `more` is set; ends when nothing is open, or, once `closing`, nothing is due.

        Raises OSError: the disk is full.
        """
        while (row := self._table.due()) is not None:
            if row.state == FETCHED:
                await self._write(row)
            elif self.closing:
                return
            else:
                self.more.clear()
                await self.more.wait()

    def hand(self, item: int, pair: Pair) -> None:
        """A pair of the spool that is decoded already; a few are kept, so that what is due soon is decoded once."""
        if len(self._at_hand) < _AT_HAND and pair.picture.pixels.nbytes <= _SMALL:
            self._at_hand[item] = pair

    def close(self) -> None:
        """Let `run` end with what is due now."""
        self.closing = True
        self.more.set()

    async def _write(self, row: Row) -> None:
        try:
            await asyncio.to_thread(self._put, row)
        except ItemMissing as error:
            _log.warning("item %d is made again: %s", row.item, error)
            self._table.again([row.item])
        except (ItemFailed, ValueError) as error:
            self._table.failed(row.item, str(error), self._job.tries)
        except OSError as error:
            if error.errno not in _OWN_FAULT:
                raise
            self._table.failed(row.item, str(error), self._job.tries)
        else:
            self._table.written(row.item)
        self.spool.drop(row.item)

    def _put(self, row: Row) -> None:
        item = self._job.plan.item(row.item)
        pair = self._at_hand.pop(row.item, None)
        if pair is None:
            pair = check(self._job, item, self.spool.get(row.item), self._files_of(item))
        values = {f"{node}.{name}": value.name if isinstance(value, Path) else value
                  for (node, name), value in self._job.values(item).items()}  # fmt: skip
        own = {"item": row.item, "seed": row.seed, "seconds": row.seconds, "settings": values}
        record = {key: value for key, value in pair.record.items() if key not in ("object", "type")}
        self.pairs.write(
            index=self.pairs.done, object=pair.record["object"], type=pair.record["type"], stem=f"{row.item:06d}",
            picture=pair.picture, mask=pair.mask, normal_source=pair.normal, record={**own, **record},
        )  # fmt: skip
