"""When the prompts on one server end: its WebSocket gives the hint, its queue and history give the truth."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time

import aiohttp

from ..files.untrusted_json import JsonValue
from .client import Busy, Redirected, Server, ServerGone
from .results import ItemFailed
from .waiting import happened

_log = logging.getLogger(__name__)
_MISSES = 3  # answers of /history in a row that do not say how a prompt ended, while the queue answers


class Lost(Exception):
    """The server neither queues nor remembers the prompt; `crashed`: it was seen to run before."""

    def __init__(self, crashed: bool) -> None:
        super().__init__("the server lost it")
        self.crashed = crashed


class Watch:
    """Awaits the ends of prompts on a server; use as a context. Any call raises ServerGone once the server is gone."""

    def __init__(self, server: Server, client_id: str) -> None:
        self._server, self._client_id = server, client_id
        self._ends: dict[str, asyncio.Future] = {}
        self._running: dict[str, float] = {}
        self._misses: dict[str, int] = {}
        self._warned = False
        self._tasks: list[asyncio.Task] = []
        self._listening = False
        self._look_now = asyncio.Event()
        self.others = 0  # prompts of others in the queue, at the last look

    async def __aenter__(self) -> Watch:
        self._tasks = [asyncio.ensure_future(self._listen()), asyncio.ensure_future(self._look())]
        return self

    async def __aexit__(self, *_) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._give_up(ServerGone("no longer watched"))

    async def ended(self, prompt_id: str) -> JsonValue:
        """The prompt's history entry, once it ended. Raises Lost, ServerGone; ItemFailed where the entry cannot be had
        from a server that answers all else."""
        end = self._ends.setdefault(prompt_id, asyncio.get_running_loop().create_future())
        if self.gone:
            raise ServerGone("it is gone")
        try:
            return await end
        finally:
            self._ends.pop(prompt_id, None)
            self._running.pop(prompt_id, None)
            self._misses.pop(prompt_id, None)

    @property
    def gone(self) -> bool:
        """Whether the server no longer answers."""
        return self._tasks[1].done()

    def pending(self) -> list[str]:
        """Awaited prompts that were not seen to run."""
        return [prompt_id for prompt_id, end in self._ends.items() if not end.done() and prompt_id not in self._running]

    def runs_since(self, prompt_id: str) -> float | None:
        """Seconds since the prompt was first seen to run; None before."""
        began = self._running.get(prompt_id)
        return None if began is None else time.monotonic() - began

    def look(self) -> None:
        """Ask the server at once."""
        self._look_now.set()

    async def _listen(self) -> None:
        """Turns messages into hints. A socket that drops costs nothing but speed: `_look` goes on."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError), self._redirects():
                async with self._server.socket(self._client_id) as socket:
                    self._listening = True
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT:
                            await self._hear(message.data)
            self._listening = False
            self._look_now.set()
            await asyncio.sleep(self._server.timing.retry)

    @contextlib.contextmanager
    def _redirects(self):
        """A socket that is at another address is named once; without it, the server is asked more often."""
        try:
            yield
        except Redirected as error:
            if not self._warned:
                _log.warning("%s: %s; the server is polled instead", self._server.url, error)
            self._warned = True

    async def _hear(self, text: str) -> None:
        try:
            message = json.loads(text)
            kind, data = message["type"], message["data"]
            prompt_id, node = data.get("prompt_id"), data.get("node")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return
        if not isinstance(prompt_id, str) or prompt_id not in self._ends:
            return
        if kind in ("executing", "execution_start") and (kind, node) != ("executing", None):
            self._running.setdefault(prompt_id, time.monotonic())
        elif (kind, node) == ("executing", None):  # sent after the history has the prompt
            with contextlib.suppress(ServerGone, Busy, ValueError):  # `_look` tries again, and counts
                await self._ask(prompt_id, forgotten=False)
        elif kind in ("execution_error", "execution_interrupted"):
            self._look_now.set()

    async def _look(self) -> None:
        timing = self._server.timing
        while True:
            await happened(self._look_now, timing.poll if self._listening else timing.poll_blind)
            self._look_now.clear()
            asked = list(self._ends)
            try:
                # The queue first: a prompt is put into the history as it leaves the queue, so it is in one of them.
                running, pending = await self._server.queue()
                self.others = sum(not mark for part in (running, pending) for mark in part.values())
                for prompt_id in asked:
                    if prompt_id in running:
                        self._running.setdefault(prompt_id, time.monotonic())
                    elif prompt_id not in pending:
                        await self._ask_counted(prompt_id)
            except Busy:
                continue
            except ServerGone as error:
                self._give_up(error)
                return

    async def _ask_counted(self, prompt_id: str) -> None:
        """The queue has just been answered: a history that cannot be had again and again is the prompt's own."""
        try:
            await self._ask(prompt_id, forgotten=True)
            self._misses.pop(prompt_id, None)
        except (ServerGone, Busy, ValueError) as error:
            self._misses[prompt_id] = self._misses.get(prompt_id, 0) + 1
            end = self._ends.get(prompt_id)
            if self._misses[prompt_id] >= _MISSES and end is not None and not end.done():
                end.set_exception(ItemFailed(str(error)))

    async def _ask(self, prompt_id: str, forgotten: bool) -> None:
        entry = await self._server.history(prompt_id)
        end = self._ends.get(prompt_id)
        if end is None or end.done():
            return
        if entry is not None:
            end.set_result(entry)
        elif forgotten:
            end.set_exception(Lost(prompt_id in self._running))

    def _give_up(self, error: ServerGone) -> None:
        for prompt_id, end in self._ends.items():
            if not end.done():
                end.set_exception(ServerGone(str(error), prompt_id in self._running))
