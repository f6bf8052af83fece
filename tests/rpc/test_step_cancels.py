"""Runs that are cancelled in every state of every kind of step: nothing is left of them, and the next run works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from stepwired.sandbox.pool import Sandbox
from tests.rpc.serving import live_calls, until, within
from tests.rpc.talking import V, begun
from tests.rpc.waiting import HANGING, LIMITS, Everything, serving


@pytest.fixture(scope="module")
async def sandbox() -> AsyncGenerator[Sandbox]:
    sandbox = await Sandbox.open(LIMITS)
    yield sandbox
    await sandbox.close()


STEP: dict[str, Any] = {"named": "step"}
LOOP: dict[str, Any] = {"javascript": "() => { for (;;); }"}
YES: dict[str, Any] = {"javascript": "() => true"}
MANY = list(range(1000))
"""So many endless loops are one that never ends, though each of them does."""

#: Each kind of step, with an input that keeps it busy for ever, and where in it.
KINDS: dict[str, tuple[list[dict[str, Any]], Any]] = {
    "chat": ([{"chat": {}}], HANGING),
    "chat, 64 at once": ([{"parallel": {"step": {"chat": {}}, "max_concurrency": 64}}], [HANGING] * 64),
    "embed": ([{"embed": {}}], HANGING),
    "search": ([{"search": {}}], {"query": HANGING, "documents": ["a"]}),
    "named, async": ([STEP], 1),
    "named, async stream": ([{"named": "stream"}], 1),
    "named, in a thread": ([{"named": "thread"}], 1),
    "named, stream in a thread": ([{"named": "generator"}], 1),
    "named, more than there are threads": ([{"spread": {}}, {"named": "thread", "max_concurrency": 9}], MANY),
    "named, a worker's": ([{"named": "work"}], 1),
    "named, a worker's without room": ([{"spread": {}}, {"named": "work", "max_concurrency": 9}], MANY),
    "named, a pipeline": ([{"named": "saved"}], [1, 2]),
    "client": ([{"client": "f"}], 1),
    "client, 64 at once": ([{"spread": {}}, {"client": "f", "max_concurrency": 64}], MANY),
    "javascript": ([{"spread": {}}, LOOP], MANY),
    "javascript in a map": ([{"map": {"step": LOOP}}], MANY),
    "javascript in a parallel": ([{"parallel": {"step": LOOP, "max_concurrency": 64}}], MANY),
    "filter": ([{"filter": {"where": STEP}}], 1),
    "filter, in javascript": ([{"spread": {}}, {"filter": {"where": LOOP}}], MANY),
    "choice, when": ([{"choice": {"cases": [{"when": STEP, "then": YES}]}}], 1),
    "choice, when in javascript": ([{"map": {"step": {"choice": {"cases": [{"when": LOOP, "then": STEP}]}}}}], MANY),
    "choice, then": ([{"choice": {"cases": [{"when": YES, "then": STEP}]}}], 1),
    "choice, otherwise": ([{"choice": {"cases": [{"when": {"filter": {"where": YES}}, "then": STEP}]}}], True),
    "state": ([{"state": {"step": STEP}}], 1),
    "state, in javascript": ([{"spread": {}}, {"state": {"step": LOOP}}], MANY),
    "retry, attempt": ([{"retry": {"step": STEP}}], 1),
    "retry, wait": ([{"retry": {"step": {"named": "busy"}}}], 1),
    "retry, when": ([{"retry": {"step": {"named": "busy"}, "when": STEP}}], 1),
    "retry, backoff": ([{"retry": {"step": {"named": "busy"}, "backoff": STEP}}], 1),
    "retry, held back": ([{"retry": {"step": {"named": "stream"}, "emitted": "RETRY_EMITTED_BUFFER"}}], 1),
    "timeout": ([{"timeout": {"step": STEP, "limit": "600s"}}], 1),
    "timeout around a parallel": (
        [{"timeout": {"step": {"parallel": {"step": STEP, "max_concurrency": 9}}, "limit": "600s"}}],
        MANY,
    ),
    "process, pre": ([{"process": {"pre": STEP}}], 1),
    "process, post": ([{"process": {"process": {"spread": {}}, "post": STEP}}], MANY),
    "compose": ([{"compose": {"steps": [{"compose": {"steps": [{"spread": {}}, STEP]}}, STEP]}}], MANY),
    "map": ([{"map": {"step": STEP}}], MANY),
    "map, side by side": ([{"map": {"step": {**STEP, "max_concurrency": 9}}}], MANY),
    "map, as completed": ([{"map": {"step": {**STEP, "max_concurrency": 9, "as_completed": True}}}], MANY),
    "parallel": ([{"parallel": {"step": STEP}}], MANY),
    "parallel, as completed": ([{"parallel": {"step": STEP, "as_completed": True}}], MANY),
    "parallel, fail fast": ([{"parallel": {"step": STEP, "fail_fast": True}}], MANY),
    "parallel of parallel": ([{"parallel": {"step": {"parallel": {"step": STEP}}}}], [MANY] * 9),
    "gather": ([{"spread": {}}, STEP, {"gather": {}}], MANY),
    "take": ([{"spread": {}}, {"named": "stream"}, {"take": {"count": 2}}], MANY),
    "spread behind a step that waits": ([{"spread": {}}, STEP, {"spread": {}}], MANY),
    "results that nobody reads": ([{"map": {"step": {"javascript": "() => 'x'.repeat(5e5)"}}}], MANY),
    "render, of which nobody reads": ([{"spread": {}}, {"render": {"template": "x" * 50_000}}], MANY),
}
METHODS = ["RunStep", "CollectStep", "RunInteractive"]
#: What only some calls can run, or keep running.
ONLY: dict[str, list[str]] = {
    "client": ["RunInteractive"],
    "client, 64 at once": ["RunInteractive"],
    "results that nobody reads": ["RunStep", "RunInteractive"],
    "render, of which nobody reads": ["RunStep", "RunInteractive"],
}
PAIRS = [(kind, method) for kind in KINDS for method in ONLY.get(kind, METHODS)]


async def busy(server: Everything, kind: str, call: Any) -> None:
    """Wait until a run of this kind waits for what keeps it busy."""
    waits = server.waits
    if kind.startswith("client"):
        while not (await within(call.read())).HasField("call"):
            pass
    elif "worker" in kind:
        await until(lambda: server.held["calls of the worker"])
    elif "javascript" in kind:
        await until(lambda: server.functions.sandbox._jobs)
    elif kind == "retry, wait":
        await until(lambda: waits.failed)
    elif "nobody reads" in kind:
        await until(lambda: any(live.writing is not True for live in live_calls(server.client.server)))
    else:
        await until(lambda: waits.working)


@pytest.mark.parametrize(("kind", "method"), PAIRS)
async def test_a_run_leaves_nothing_however_it_is_cancelled(sandbox: Sandbox, kind: str, method: str) -> None:
    steps, value = KINDS[kind]
    async with serving(sandbox) as server:
        for turns in (0, 1, 10, 100):  # of the loop; whatever it does by then
            call = await begun(server.client.steps, method, steps, value)
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await within(call.code())
            await server.nothing_is_left()
        for times in (1, 2):
            server.waits.failed = 0
            call = await begun(server.client.steps, method, steps, value)
            await busy(server, kind, call)
            for _ in range(times):
                call.cancel()
            assert (await within(call.code())).name == "CANCELLED"
            call.cancel()
            await server.nothing_is_left()
            await server.works()
            await server.nothing_is_left()
        call = await begun(server.client.steps, method, steps, value, 0.05)
        # To wait for longer than the caller does would be of no use: that item fails at once, and its run ends well.
        codes = {"DEADLINE_EXCEEDED", "OK"} if kind == "retry, wait" else {"DEADLINE_EXCEEDED"}
        assert (await within(call.code())).name in codes
        await server.nothing_is_left()
        await server.works()


@pytest.mark.parametrize("method", METHODS)
async def test_to_cancel_a_run_that_has_ended_does_nothing(sandbox: Sandbox, method: str) -> None:
    async with serving(sandbox) as server:
        for _ in range(3):
            call = await begun(server.client.steps, method, [{"javascript": "(x) => x"}], 1)
            if method == "CollectStep":
                await within(call)
            else:
                while not _finished(await within(call.read())):
                    pass
            call.cancel()
            await within(call.code())
            await server.nothing_is_left()
        await server.works()


def _finished(message: Any) -> bool:
    event = message.event if isinstance(message, V.RunInteractiveResponse) else message
    return bool(event.HasField("finished"))
