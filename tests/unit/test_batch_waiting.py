"""Waiting for an event: until it comes, until the limit, and never past a cancellation."""

import asyncio
import time

import pytest
from anomaly_synthesis.batch.waiting import happened


def test_it_ends_with_the_event_or_with_the_limit():
    async def both():
        event = asyncio.Event()
        started = time.monotonic()
        assert not await happened(event, 0.05) and time.monotonic() - started < 1
        asyncio.get_running_loop().call_later(0.01, event.set)
        assert await happened(event, 60) and time.monotonic() - started < 10

    asyncio.run(both())


def test_a_cancellation_that_comes_with_the_event_is_not_lost():
    async def cancelled():
        event = asyncio.Event()
        task = asyncio.ensure_future(happened(event, 60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        event.set()
        await asyncio.sleep(0)  # the wait for the event is done, but its caller has not resumed yet
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
