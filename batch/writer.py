"""Writes what is fetched into the output folder, in the items' order, each once."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import logging
from pathlib import Path

from ..datasets.pairs import MANIFEST, PairWriter, manifest_lines
from ..errors import reason
from ..files.untrusted_json import JsonValue
from .job import Job
from .results import ItemFailed, ItemMissing, Pair, Spool, check
from .table import FETCHED, WRITTEN, Row, Table

_AT_HAND = 4
_SMALL = 16 << 20  # bytes of pixels that are kept at hand
_OWN_FAULT = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)  # of an item's names; all else is the disk's
_PLACES = "places"  # a fact of the table: where lost pairs belong, as JSON
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

    The folder's manifest is the truth: a whole pair of it is never written again, whatever the table says, and one that
    was lost or damaged is made again, alone and with its own index. Pairs are in the order of the items, without those
    that were set aside.
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
        self._place_normals()
        there = set(items_of(self._job.out)) if self.pairs.end else set()
        again = [row.item for row in self._table.rows(WRITTEN) if row.item not in there]
        self._places = self._lost_places(there, again)
        self._table.set_fact(_PLACES, json.dumps(self._places))
        self._table.found_written(there)
        self._table.again(again)
        fetched = {row.item for row in self._table.rows(FETCHED)}
        self.spool.keep_only(fetched)

    def _place_normals(self) -> None:
        """Make lost normal images again: a file of this machine at once, another one with a pair that needs it."""
        lost = self.pairs.lost_normals
        items = {line.at("index").of(int): item for item, line in items_of(self._job.out).items()} if lost else {}
        for name, index in lost.items():
            file = self._files_of(self._job.plan.item(items[index])).get("normal")
            if file is not None:
                self.pairs.restore_normal(name, file)
            else:
                self.pairs.lose(index)

    def _lost_places(self, there: set[int], again: list[int]) -> dict[int, int]:
        """item -> index of the lost pairs: as their lines have it, else the items in their order."""
        lost = self.pairs.lost
        kept = json.loads(self._table.fact(_PLACES, "{}"))
        places = {int(item): index for item, index in kept.items() if index in lost and int(item) not in there}
        for index, line in lost.items():
            if line is not None and type(line.get("item")) is int and line["item"] not in there:
                places.setdefault(line["item"], index)
        free = [index for index in lost if index not in places.values()]
        return places | dict(zip([item for item in again if item not in places], free, strict=False))

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

    def release(self) -> None:
        """Let others write the folder. Raises OSError."""
        self.pairs.close()

    async def _write(self, row: Row) -> None:
        try:
            await asyncio.to_thread(self._put, row)
        except ItemMissing as error:
            _log.warning("item %d is made again: %s", row.item, error)
            self._table.again([row.item])
        except (ItemFailed, ValueError) as error:
            self._table.failed(row.item, reason(error), self._job.tries)
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
        values = {
            f"{node}.{name}": value.name if isinstance(value, Path) else value
            for (node, name), value in self._job.values(item).items()
        }
        own = {"item": row.item, "seed": row.seed, "seconds": row.seconds, "settings": values}
        record = {key: value for key, value in pair.record.items() if key not in ("object", "type")}
        self.pairs.write(
            index=self._places.get(row.item, self.pairs.end),
            object=pair.record["object"],
            type=pair.record["type"],
            stem=f"{row.item:06d}",
            picture=pair.picture,
            mask=pair.mask,
            normal_source=pair.normal,
            record={**own, **record},
        )
        self._places.pop(row.item, None)
