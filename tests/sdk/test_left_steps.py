"""Runs that are left, or end before their functions do: these are ended too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing
from typing import Any

import pytest

from stepwire import AsyncClient, steps
from tests.sdk.stepping import HANG_S, slowly_to


async def test_leaving_a_run_cancels_its_coroutines_and_closes_its_generators(target: str) -> None:
    begun, ended, closed = asyncio.Event(), asyncio.Event(), threading.Event()

    async def for_ever(_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def endless(_: Any) -> Generator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    async with AsyncClient(target) as api:
        task = asyncio.create_task(api.collect(for_ever))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
        async with aclosing(api.run(endless)) as results:
            assert (await anext(results)).value == 1
        assert await asyncio.to_thread(closed.wait, HANG_S)


async def test_a_run_that_ends_while_its_function_still_yields_loses_nothing_and_leaves_nothing(target: str) -> None:
    async with AsyncClient(target) as api:
        before = asyncio.all_tasks()
        for _ in range(30):
            assert await api.collect([slowly_to, steps.take(2)], 1000) == [1, 2]
        async with asyncio.timeout(HANG_S):
            while asyncio.all_tasks() - before:  # noqa: ASYNC110  gRPC's own, which nobody tells of
                await asyncio.sleep(0.01)
