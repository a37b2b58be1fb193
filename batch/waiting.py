"""Waiting for an event with a limit."""

from __future__ import annotations

import asyncio


async def happened(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so many seconds; whether it is set.

    asyncio.wait_for would lose a cancellation that comes together with the event (before Python 3.12), and who cancels
    would wait for ever: a server that dies sets events and cancels in one breath.
    """
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=seconds)
    finally:
        waiting.cancel()
    return event.is_set()
